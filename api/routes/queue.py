"""The queue: which jobs wait, for what, and for how long."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Annotated, Self

from fastapi import APIRouter, Query

from api.dependencies.auth import Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.jobs import View
from hsu_jobs.cluster import waiting
from hsu_jobs.cluster.waiting import Pool, QueuePosition
from hsu_jobs.errors import BadRequest, Unauthorized
from hsu_jobs.names import PoolName
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey, Role

router = APIRouter(prefix="/v1/queue", tags=["cluster"])


class PoolView(View):
    """The workers that share a queue."""

    name: str
    workers: int
    """Those that take jobs and reported recently."""
    slots: int
    busy: int
    waiting: int
    largest: int
    """GPUs of the largest machine."""
    typical: float | None
    """Seconds that a recent attempt took; null if there was none."""
    lacks: str | None
    """What keeps a live worker from taking jobs; null if nothing does."""
    datasets: list[str] | None
    """The data sets that at least one of its workers can read; null if one of them has not reported."""

    @classmethod
    def of(cls, pool: Pool) -> Self:
        """The view of a pool."""
        datasets = None if pool.datasets is None else sorted(pool.datasets)
        return cls(**pool._asdict() | {"datasets": datasets})


class PlaceView(View):
    """A job's place in the queue. Of other users' jobs only what explains the order is shown."""

    job: int
    position: int
    """In its pool, from 1."""
    pool: str
    priority: int
    gpus: int
    owner: str | None
    """Null for another user's job; so are `name` and `detail`."""
    name: str | None
    reason: str
    """`spec_not_readable`, `backing_off`, `quota`, `no_worker`, `workers_lack_storage`, `no_worker_with_dataset`,
    `no_worker_with_plugins`, `too_large`, `machine_busy`, `behind` or `next`."""
    detail: str | None
    ahead: int | None
    """Jobs that will probably start before it; null if it waits for another reason."""
    starts_in: float | None
    """Seconds, estimated from recent jobs of the pool; null if that is not possible."""

    @classmethod
    def of(cls, place: QueuePosition, position: int, *, key: ApiKey) -> Self:
        """The view of a place, as this key may see it."""
        is_open = key.role is Role.ADMIN or place.owner_id == key.user_id
        return cls(
            job=place.job_id,
            position=position,
            pool=place.pool,
            priority=place.priority,
            gpus=place.gpus,
            owner=place.owner if is_open else None,
            name=place.name if is_open else None,
            **place.waiting._asdict() | ({} if is_open else {"detail": None}),
        )


class QueueView(View):
    """The pools, and the jobs that wait in each, in the order in which they will probably start."""

    pools: list[PoolView]
    places: list[PlaceView]


@router.get("", responses=problems(BadRequest, Unauthorized))
def read_queue(
    key: Viewer,
    session: Session,
    pool: Annotated[PoolName | None, Query(description="Only this pool.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Only so many first places of each pool.")] = 100,
) -> QueueView:
    """Which jobs wait, why, what is ahead of them, and when they may start: a snapshot, not a promise."""
    seen = waiting.overview(session, settings(), pool=pool, limit=limit)
    return QueueView(
        pools=[PoolView.of(each) for each in seen.pools],
        places=[
            PlaceView.of(place, position, key=key)
            for _, places in groupby(seen.places, key=attrgetter("pool"))
            for position, place in enumerate(places, start=1)
        ],
    )
