"""Actions: what may be requested of a job. `hsu_jobs.states` says which requests each state allows."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import orm

from api.dependencies.auth import Member
from api.dependencies.idempotency import MADE, Idempotent
from api.dependencies.jobs import OwnedJob
from api.dependencies.session import Session
from api.problems import pointing_into, problems
from api.views.jobs import JobView, created
from hsu_core.spec.values import EXACT, WHOLE, at_most
from hsu_jobs import database, doorbell, forks, lifecycle
from hsu_jobs.artifacts import installation, missing_checkpoints
from hsu_jobs.cluster import admission, quota
from hsu_jobs.datasets import filling
from hsu_jobs.errors import (
    BadRequest,
    Forbidden,
    Gone,
    IdempotencyConflict,
    IllegalMove,
    NotFound,
    QuotaExceeded,
    SpecNotReadable,
    SpecRejected,
    Unauthorized,
    UnderWay,
)
from hsu_jobs.settings import settings
from hsu_jobs.spec import Priority, parse
from hsu_jobs.tables import ApiKey, Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MOST_CHANGES = 64
"""Fields that a fork may change: more than a spec has."""
Key = Annotated[str, StringConstraints(max_length=100)]

_ALWAYS = (BadRequest, Unauthorized, Forbidden, NotFound)


class NewPriority(BaseModel):
    """The new priority of a job."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"priority": 10}]})

    priority: Priority


class Fork(BaseModel):
    """From which checkpoint a fork continues, and what changes."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"step": 100, "change": {"regularizer": {"kind": "comhe"}}}]},
    )

    step: Annotated[int, Field(ge=0, le=EXACT), WHOLE] | None = None
    """The step of the checkpoint; the newest by default."""
    change: Annotated[dict[Key, Any], Field(max_length=MOST_CHANGES), at_most(MOST_CHANGES)] = {}
    """A merge patch (RFC 7396) of the spec; an object of another `kind` replaces the old one whole. The model, the
    kind of optimizer, and the size of the images cannot change."""


@router.post("/{job_id}/cancel", status_code=202, responses=problems(*_ALWAYS, IllegalMove))
def cancel_job(job: OwnedJob, _key: Member, session: Session) -> JobView:
    """Request that a job stops. A waiting job stops at once, a running one within a second or two."""
    return JobView.seen(session, lifecycle.cancel(session, job.id))


@router.post("/{job_id}/pause", status_code=202, responses=problems(*_ALWAYS, IllegalMove))
def pause_job(job: OwnedJob, _key: Member, session: Session) -> JobView:
    """Keep a job from running until it is resumed. A running job first saves its state, and releases its GPUs."""
    return JobView.seen(session, lifecycle.pause(session, job.id))


@router.post("/{job_id}/resume", responses=problems(*_ALWAYS, IllegalMove))
def resume_job(job: OwnedJob, _key: Member, session: Session) -> JobView:
    """Put a paused job back into the queue; it resumes exactly where it was."""
    _ring_for(job.id, session)
    return JobView.seen(session, lifecycle.resume(session, job.id))


@router.post("/{job_id}/priority", responses=problems(*_ALWAYS, IllegalMove, SpecRejected))
def prioritise_job(job: OwnedJob, wanted: NewPriority, key: Member, session: Session) -> JobView:
    """Change a job's priority, also while it runs. A job of higher priority runs first, and may preempt a lower one."""
    admission.check_priority(wanted.priority, settings(), key=key)
    _ring_for(job.id, session)
    return JobView.seen(session, lifecycle.prioritise(session, job.id, wanted.priority))


@router.post(
    "/{job_id}/fork",
    status_code=201,
    response_model=JobView,
    responses=MADE
    | problems(*_ALWAYS, SpecNotReadable, UnderWay, QuotaExceeded, Gone, IdempotencyConflict, SpecRejected),
)
def fork_job(job: OwnedJob, asked: Fork, key: Member, session: Session, once: Idempotent) -> Response:
    """Queue a job that continues from one of this job's checkpoints with a changed spec.

    Its curves begin with this job's curves.
    """
    return once(partial(_forked, job, asked, key, session))


@router.post(
    "/{job_id}/retry",
    status_code=201,
    response_model=JobView,
    responses=MADE
    | problems(
        *_ALWAYS, IllegalMove, SpecNotReadable, UnderWay, QuotaExceeded, Gone, IdempotencyConflict, SpecRejected
    ),
)
def retry_job(job: OwnedJob, key: Member, session: Session, once: Idempotent) -> Response:
    """Queue the spec of an ended job again, from the job's last checkpoint if it has one."""
    return once(partial(_retried, job, key, session))


def _forked(job: Job, asked: Fork, key: ApiKey, session: orm.Session) -> Response:
    quota.require_room_for_jobs(session, key.user_id, 1, settings())
    _look_for_missing(job, session)
    with pointing_into("change", asked.change):
        change = filling.filled_change(session, key, job.spec, asked.change)
        patched = forks.patched(job.spec, change)
    with pointing_into("change", patched):
        made = lifecycle.fork(session, job.id, owner=key.user, step=asked.step, change=change)
        return _queued(made, key, session)


def _retried(job: Job, key: ApiKey, session: orm.Session) -> Response:
    quota.require_room_for_jobs(session, key.user_id, 1, settings())
    _look_for_missing(job, session)
    return _queued(lifecycle.retry(session, job.id, owner=key.user), key, session)


def _look_for_missing(job: Job, session: orm.Session) -> None:
    """Note checkpoints whose files the storage lacks; if this host cannot reach the storage, trust the rows."""
    with suppress(OSError):
        missing_checkpoints.note_those_of(session, job, installation.storage(session, settings()))


def _queued(made: Job, key: ApiKey, session: orm.Session) -> Response:
    admission.check(session, parse(made.spec), settings(), key=key)
    _ring_for(made.id, session)
    return created(JobView.seen(session, made))


def _ring_for(job_id: int, session: orm.Session) -> None:
    database.after_commit(session, partial(doorbell.shared().ring, job_id))
