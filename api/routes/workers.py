"""Workers: the machines, what they have, and whether they take jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row, orm

from api.dependencies.auth import Admin, Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import Flag
from hsu_jobs import queries
from hsu_jobs.cluster import workers
from hsu_jobs.errors import BadRequest, Forbidden, NotFound, SpecRejected, Unauthorized
from hsu_jobs.names import LONGEST_STORED
from hsu_jobs.settings import settings
from hsu_jobs.tables import Duty, Worker

router = APIRouter(prefix="/v1/workers", tags=["cluster"])

Name = Annotated[str, Path(min_length=1, max_length=LONGEST_STORED)]


class WorkerView(View):
    """A machine's worker."""

    name: str
    pool: str
    devices: list[str]
    slots: int
    """Jobs of one GPU that it runs at once."""
    busy: int
    """Slots in use."""
    duty: Duty | str
    """`active`: it takes jobs; `draining`: it takes no new jobs and is to become empty; `excluded`: its hardware
    failed, it takes none until it is restored."""
    is_there: bool
    """Whether it reported within a lease."""
    faults: int
    """Attempts in a row that failed because of its hardware."""
    holding: int | None
    """A job that waits for more GPUs than are free here: GPUs that become free are kept for it."""
    datasets: list[str] | None
    """The data sets that it can read, or may download; null until it has reported."""
    plugins: dict[str, str] | None
    """The plug-ins that it has, each with its version; null until it has reported."""
    broken_plugins: list[str]
    """The plug-ins that it cannot use, each with its reason."""
    lacks: list[str]
    """Why it takes no jobs now: what it cannot reach, each with its reason."""
    started_at: datetime
    seen_at: datetime


class WorkersView(View):
    """Every worker that ever existed, by pool and name."""

    workers: list[WorkerView]


class Drain(BaseModel):
    """How to empty a worker."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"now": True}]}
    )

    now: Flag = False
    """Do not wait for its running jobs: save them, and let them continue elsewhere."""


@router.get("", responses=problems(Unauthorized))
def list_workers(_key: Viewer, session: Session) -> WorkersView:
    """The machines of every pool."""
    return WorkersView(workers=_workers(session))


@router.get("/{name:path}", responses=problems(BadRequest, Unauthorized, NotFound))
def show_worker(name: Name, _key: Viewer, session: Session) -> WorkerView:
    """One machine."""
    return _worker(session, name)


@router.post(
    "/{name:path}/drain",
    status_code=202,
    responses=problems(BadRequest, Unauthorized, Forbidden, NotFound, SpecRejected),
)
def drain_worker(name: Name, _key: Admin, session: Session, how: Drain = Drain()) -> WorkerView:  # noqa: B008
    """Let a worker take no further job, so that its machine can be serviced. It stays drained until it is restored."""
    workers.drain(session, name, now=how.now)
    return _worker(session, name)


@router.post("/{name:path}/restore", responses=problems(BadRequest, Unauthorized, Forbidden, NotFound))
def restore_worker(name: Name, _key: Admin, session: Session) -> WorkerView:
    """Let a drained or excluded worker take jobs again."""
    workers.restore(session, name)
    return _worker(session, name)


def _worker(session: orm.Session, name: str) -> WorkerView:
    every = {worker.name: worker for worker in _workers(session)}
    if name not in every:
        raise NotFound(f"there is no worker {name!r}; there are: {', '.join(sorted(every)) or 'none'}")
    return every[name]


def _workers(session: orm.Session) -> list[WorkerView]:
    session.flush()
    return shown("list of workers", session.execute(queries.workers_at_work(settings().lease)), _view)


def _view(row: Row[Worker, int, bool]) -> WorkerView:
    worker, busy, is_there = row
    columns = set(WorkerView.model_fields) - {"busy", "is_there"}
    return WorkerView(**{name: getattr(worker, name) for name in columns}, busy=busy, is_there=is_there)
