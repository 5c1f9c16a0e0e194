"""Why does a job wait, what is ahead of it, and for how long?

Knows the rules of `claiming`, and reads without its lock: a snapshot, not a promise. The jobs ahead are counted as if
owners alternated from now on; the estimate takes recent jobs of the pool as typical.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Double, func, select
from sqlalchemy.orm import Session

from hsu_jobs import queries, row_failures
from hsu_jobs.cluster import fair_share
from hsu_jobs.cluster.claiming import SOON
from hsu_jobs.errors import SpecNotReadable
from hsu_jobs.queries import IS_RUNNABLE
from hsu_jobs.settings import Settings
from hsu_jobs.spec import read
from hsu_jobs.states import State
from hsu_jobs.tables import Attempt, Job, User, Worker

_RECENT = 50
"""Ended attempts whose mean length is taken as typical."""
_LEAST_SHARE, _LARGEST_SHARE = 1e-9, 1e6
"""A share outside this range, such as 0, counts as its nearer end: one user's row breaks no other user's estimate."""


class Waiting(NamedTuple):
    """Why a queued job has not started."""

    reason: str
    """`spec_not_readable`, `backing_off`, `quota`, `no_worker`, `workers_lack_storage`, `no_worker_with_dataset`,
    `no_worker_with_plugins`, `too_large`, `machine_busy`, `behind` or `next`."""
    detail: str
    ahead: int | None
    """Jobs that will probably start before it; None if it waits for another reason."""
    starts_in: float | None
    """Seconds, estimated; None if that is not possible."""


class Pool(NamedTuple):
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
    """Seconds that a recent attempt took."""
    lacks: str | None = None
    """What keeps a live worker from taking jobs."""
    datasets: frozenset[str] | None = None
    """The data sets that at least one worker can read; None if one of them has not reported."""
    plugins: tuple[frozenset[str], ...] | None = None
    """The plug-ins of each worker; None if one of them has not reported."""


class QueuePosition(NamedTuple):
    """A job's place in the queue."""

    job_id: int
    owner_id: int
    owner: str
    name: str
    priority: int
    gpus: int
    pool: str
    waiting: Waiting


class Overview(NamedTuple):
    """The pools, and the jobs that wait in the order in which they will probably start."""

    pools: list[Pool]
    places: list[QueuePosition]


class _Owner(NamedTuple):
    """What decides when a user's jobs are next."""

    name: str
    share: float
    used: float
    gpus: int
    max_gpus: int | None


def why(session: Session, job: Job, settings: Settings) -> Waiting | None:
    """Why this job waits; None unless it is queued."""
    if job.state is not State.QUEUED:
        return None
    if unreadable := _unreadable(job):
        return unreadable
    pool = _pool(session, job.pool, settings)
    owners = _owners(session, settings)
    counts = select(
        Job.owner_id,
        func.count().filter(Job.priority > job.priority),
        func.count().filter(Job.priority == job.priority),
        func.count().filter(Job.priority == job.priority, Job.id < job.id),
    )
    rows = session.execute(counts.where(IS_RUNNABLE, Job.pool == job.pool).group_by(Job.owner_id)).all()
    mine, older = owners[job.owner_id], next((row[3] for row in rows if row[0] == job.owner_id), 0)
    ahead = older
    for owner_id, higher, same, _ in rows:
        ahead += higher
        if owner_id != job.owner_id:
            theirs = owners[owner_id]
            is_first = theirs.used / theirs.share < mine.used / mine.share
            ahead += min(same, round((older + is_first) * theirs.share / mine.share))
    now = session.execute(select(func.now())).scalar_one()
    return _reason(pool, mine, job, now=now, ahead=ahead)


def overview(session: Session, settings: Settings, *, pool: str | None = None, limit: int = 100) -> Overview:
    """The pools and the first places of each one's queue."""
    named = set(session.execute(select(Worker.pool)).scalars())
    named |= set(session.execute(select(Job.pool).where(IS_RUNNABLE).distinct()).scalars())
    pools = [_pool(session, name, settings) for name in sorted(named) if pool in (None, name)]
    owners = _owners(session, settings)
    places = [place for each in pools for place in _places(session, each, owners, limit)]
    return Overview(pools, places)


def _reason(pool: Pool, owner: _Owner, job: Job, *, now: datetime, ahead: int) -> Waiting:
    gpus = job.gpus
    if lacking := _lacking(pool, job):
        return lacking
    if job.runnable_at > now:
        seconds = (job.runnable_at - now) / timedelta(seconds=1)
        detail = f"the last attempt could not go on; the next one follows in {seconds:.0f} s"
        return Waiting("backing_off", detail, None, seconds)
    if owner.max_gpus is not None and owner.gpus + gpus > owner.max_gpus:
        return Waiting("quota", f"{owner.name} uses {owner.gpus} of at most {owner.max_gpus} GPUs", None, None)
    if pool.workers == 0:
        return Waiting("no_worker", f"no worker of pool {pool.name!r} takes jobs just now", ahead, None)
    if gpus > pool.largest:
        detail = f"it asks for {gpus} GPUs; the largest machine that takes jobs just now has {pool.largest}"
        return Waiting("too_large", detail, None, None)
    free = pool.slots - pool.busy
    starts_in = None if pool.typical is None else max(0.0, ahead + gpus - free) / pool.slots * pool.typical
    if ahead:
        detail = (
            f"{ahead} {'job goes' if ahead == 1 else 'jobs go'} first; {pool.busy} of {pool.slots} slots are in use"
        )
        return Waiting("behind", detail, ahead, starts_in)
    if free < gpus:
        return Waiting("machine_busy", f"it is next; {pool.busy} of {pool.slots} slots are in use", 0, starts_in)
    if gpus > 1:
        return Waiting("machine_busy", f"it is next, when {gpus} GPUs of one machine are free", 0, starts_in)
    return Waiting("next", "it is next: a worker is about to take it", 0, 0.0)


def _unreadable(job: Job) -> Waiting | None:
    """Why a job whose spec this version cannot read waits; None for every other job."""
    try:
        read(job.spec, plugins=job.plugins)
    except SpecNotReadable as error:
        return Waiting(SpecNotReadable.code, f"{error.detail}; a worker of a version that can may run it", None, None)
    return None


def _lacking(pool: Pool, job: Job) -> Waiting | None:
    """A reason that only the operator of the machines can remove."""
    if pool.workers == 0 and pool.lacks:
        return Waiting("workers_lack_storage", f"no worker of pool {pool.name!r} takes jobs: {pool.lacks}", None, None)
    if pool.workers == 0:
        return None
    if pool.plugins is not None and not any(own.issuperset(job.plugins) for own in pool.plugins):
        needed = ", ".join(job.plugins)
        have = ", ".join(sorted(frozenset().union(*pool.plugins))) or "none"
        detail = f"no worker of pool {pool.name!r} that is there has the plug-ins {needed}; they have: {have}"
        return Waiting("no_worker_with_plugins", detail, None, None)
    if pool.datasets is not None and job.dataset not in ("", *pool.datasets):
        have = ", ".join(sorted(pool.datasets)) or "none"
        detail = f"no worker of pool {pool.name!r} that is there can read {job.dataset}; they have: {have}"
        return Waiting("no_worker_with_dataset", detail, None, None)
    return None


def _pool(session: Session, name: str, settings: Settings) -> Pool:
    there = [
        worker for worker in session.execute(queries.serving_workers(settings.lease)).scalars() if worker.pool == name
    ]
    live = session.execute(
        select(Attempt.worker, func.sum(Attempt.gpus)).where(Attempt.ended_at.is_(None)).group_by(Attempt.worker)
    )
    busy = {worker: int(gpus) for worker, gpus in live}
    waiting = session.execute(select(func.count()).select_from(Job).where(IS_RUNNABLE, Job.pool == name)).scalar_one()
    return Pool(
        name,
        workers=len(there),
        slots=sum(worker.slots for worker in there),
        busy=sum(busy.get(worker.name, 0) for worker in there),
        waiting=waiting,
        largest=max((len(worker.devices) for worker in there), default=0),
        typical=_typical(session, name),
        lacks=_hindrance(session, name, settings),
        datasets=None
        if any(worker.datasets is None for worker in there)
        else frozenset(kind for worker in there for kind in worker.datasets or ()),
        plugins=None
        if any(worker.plugins is None for worker in there)
        else tuple(frozenset(worker.plugins or ()) for worker in there),
    )


def _hindrance(session: Session, pool: str, settings: Settings) -> str | None:
    hindered = session.execute(queries.hindered_workers(settings.lease)).scalars()
    return next((f"{worker.name} lacks {worker.lacks[0]}" for worker in hindered if worker.pool == pool), None)


def _typical(session: Session, pool: str) -> float | None:
    seconds = func.extract("epoch", Attempt.ended_at - Attempt.started_at).cast(Double)
    recent = select(seconds.label("seconds")).join(Job).where(Job.pool == pool, Attempt.ended_at.is_not(None))
    latest = recent.order_by(Attempt.id.desc()).limit(_RECENT).subquery()
    seconds_each: float | None = session.execute(select(func.avg(latest.c.seconds))).scalar_one()
    return seconds_each


def _owners(session: Session, settings: Settings) -> dict[int, _Owner]:
    used = fair_share.usage_now(settings.usage_half_life) + User.gpus * SOON.total_seconds()
    rows = session.execute(select(User.id, User.name, User.share, used, User.gpus, User.max_gpus)).all()
    return {row[0]: _Owner(*row[1:])._replace(share=_bounded(row[2])) for row in rows}


def _bounded(share: float) -> float:
    return min(max(_LEAST_SHARE, share), _LARGEST_SHARE)  # in this order, NaN becomes the least one


def _places(session: Session, pool: Pool, owners: dict[int, _Owner], limit: int) -> Iterator[QueuePosition]:
    now = session.execute(select(func.now())).scalar_one()
    queued = _in_order(_first_of_each(session, pool.name, limit), owners, pool.typical or 1.0)
    ahead = 0
    for job in islice(queued, limit):
        owner, waiting = owners[job.owner_id], None
        with row_failures.alone("queue", f"job {job.id}"):
            waiting = _unreadable(job) or _reason(pool, owner, job, now=now, ahead=ahead)
        if waiting is None:
            continue
        ahead += waiting.reason != SpecNotReadable.code
        yield QueuePosition(job.id, job.owner_id, owner.name, job.name, job.priority, job.gpus, job.pool, waiting)


def _first_of_each(session: Session, pool: str, limit: int) -> dict[int, list[Job]]:
    """The first waiting jobs of each owner, in their order."""
    place = func.row_number().over(partition_by=Job.owner_id, order_by=(Job.priority.desc(), Job.id))
    numbered = select(Job.id, place.label("place")).where(IS_RUNNABLE, Job.pool == pool).subquery()
    first = select(Job).join(numbered, numbered.c.id == Job.id).where(numbered.c.place <= limit)
    queues: dict[int, list[Job]] = {}
    for job in session.execute(first.order_by(Job.priority.desc(), Job.id)).scalars():
        queues.setdefault(job.owner_id, []).append(job)
    return queues


def _in_order(queues: dict[int, list[Job]], owners: dict[int, _Owner], typical: float) -> Iterator[Job]:
    """The jobs in order, as if each ran for the typical time."""
    used = {owner: owners[owner].used for owner in queues}
    places = dict.fromkeys(queues, 0)
    while places:
        owner = min(
            places, key=lambda owner: _claim_of(queues[owner][places[owner]], used[owner] / owners[owner].share)
        )
        job = queues[owner][places[owner]]
        yield job
        used[owner] += job.gpus * typical
        places[owner] += 1
        if places[owner] == len(queues[owner]):
            del places[owner]


def _claim_of(job: Job, used: float) -> tuple[int, float, int]:
    return -job.priority, used, job.id
