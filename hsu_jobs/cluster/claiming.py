"""Which job runs next, and which has to make room? Priority, then fair share, then age; quotas; what fits the machine.

Workers choose one after the other, under one lock, so that usage and quotas are exact. Choosing, starting and charging
are one statement, so the lock is held for a millisecond or two (decision record 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from hsu_core.data.files import LAYOUT
from hsu_core.spec import OWN, plugins
from hsu_jobs import lifecycle, pubsub, queries, row_failures
from hsu_jobs.settings import Settings
from hsu_jobs.spec import is_readable
from hsu_jobs.states import MOVES, State, Stop
from hsu_jobs.tables import Attempt, Job, Worker

CHOOSERS = "those who choose the next job"
SOON = timedelta(seconds=10)
"""GPUs in use count as used for so much longer: of two users with about equal usage, the one with fewer is next."""

# All in one round trip. START has to come after it, to see what the claim before has written. If a crash of the
# database undoes a start, the lease cannot be renewed: nothing is lost, so nothing waits for the disk. START is planned
# once for each connection, maybe while the queue is empty: the settings keep the plan right when the queue is long.
LOCK_THE_QUEUE: TextClause = text(f"""
SET LOCAL synchronous_commit = off;
SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL jit = off;
SELECT pg_advisory_xact_lock(hashtextextended('{CHOOSERS}', 0))
""")

assert State.RUNNING in MOVES[State.QUEUED]  # which START writes

START: TextClause = text("""
WITH RECURSIVE needed AS (  -- the sets of plug-ins that jobs wait for: one index probe each, and one for the end
    (SELECT plugins FROM jobs WHERE state = 'queued' AND wanted = 'run' AND pool = :pool ORDER BY plugins LIMIT 1)
    UNION ALL
    SELECT (
        SELECT jobs.plugins FROM jobs
        WHERE state = 'queued' AND wanted = 'run' AND pool = :pool AND jobs.plugins > needed.plugins
        ORDER BY jobs.plugins LIMIT 1
    ) FROM needed WHERE needed.plugins IS NOT NULL
),
readable AS (  -- of the plug-ins and data sets that the worker has, those that some job waits for
    SELECT plugins, kind AS dataset FROM needed
    CROSS JOIN unnest(CAST(:datasets AS text[])) AS kind
    CROSS JOIN LATERAL (
        SELECT FROM jobs
        WHERE state = 'queued' AND wanted = 'run' AND pool = :pool
          AND jobs.plugins = needed.plugins AND jobs.dataset = kind
        LIMIT 1  -- not EXISTS: as a join, the plan would read the whole queue
    ) AS job
    WHERE plugins <@ CAST(:plugins AS text[])
),
head AS (  -- the first job of each user, size, data set and plug-ins: a few index probes, however many jobs wait
    SELECT job.*, least(usage_now(usage, users.gpus, usage_at, :half_life) + users.gpus * :soon, 1e100)
                  / CASE WHEN share > 0 THEN greatest(share, 1e-9) END AS used  -- bounded: an overflow ended all claims
    FROM users
    CROSS JOIN generate_series(1, :machine) AS size
    CROSS JOIN readable
    CROSS JOIN LATERAL (
        SELECT id, ctid AS place, gpus, priority, runnable_at FROM jobs
        WHERE state = 'queued' AND wanted = 'run' AND pool = :pool
          AND jobs.plugins = readable.plugins AND jobs.dataset = readable.dataset
          AND owner_id = users.id AND gpus = size
          AND runnable_at <= now() AND id <> ALL(CAST(:passed_over AS bigint[]))
        ORDER BY priority DESC, id LIMIT 1
    ) AS job
    WHERE max_gpus IS NULL OR users.gpus + size <= max_gpus
),
kept AS (  -- one that waits for more GPUs than are free, and has waited long: what becomes free is kept for it
    SELECT id, priority FROM head
    WHERE gpus > :free AND runnable_at < now() - make_interval(secs => :patience)
      AND NOT EXISTS (
          SELECT FROM workers
          WHERE holding = head.id AND name <> :worker AND seen_at > now() - make_interval(secs => :lease))
    ORDER BY priority DESC, used, id LIMIT 1
),
held AS (
    UPDATE workers SET holding = (SELECT id FROM kept)
    WHERE name = :worker AND holding IS DISTINCT FROM (SELECT id FROM kept)
),
chosen AS (
    SELECT place FROM head
    WHERE gpus <= :free AND priority > coalesce((SELECT priority FROM kept), -32768)
      AND NOT EXISTS (
          SELECT FROM workers WHERE name = :worker AND (duty <> 'active' OR identity <> CAST(:identity AS uuid)))
    ORDER BY priority DESC, used, id LIMIT 1
),
started AS (
    UPDATE jobs SET state = 'running', started_at = coalesce(started_at, now())
    WHERE ctid = (SELECT place FROM chosen) AND state = 'queued' AND wanted = 'run'
    RETURNING jobs.id, owner_id, gpus, spec
),
charged AS (
    UPDATE users SET usage = usage_now(usage, users.gpus, usage_at, :half_life), usage_at = now(),
                     gpus = users.gpus + started.gpus
    FROM started WHERE users.id = owner_id
),
tried AS (
    INSERT INTO attempts (job_id, number, worker, device, gpus, token, lease_expires_at)
    SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE job_id = started.id), :worker,
           array_to_string((CAST(:devices AS text[]))[1:gpus], ','), gpus, CAST(:token AS uuid),
           now() + make_interval(secs => :lease)
    FROM started
    RETURNING job_id, number, device
),
told AS (
    INSERT INTO events (job_id, event)
    SELECT job_id, jsonb_build_object('kind', 'started', 'attempt', number, 'worker', CAST(:worker AS text),
                                      'device', device)
    FROM tried
)
SELECT started.id, number, gpus, spec FROM started JOIN tried ON job_id = started.id
""")


class Room(NamedTuple):
    """What a worker has, and what of it is free now."""

    worker: str
    pool: str
    free: tuple[str, ...]
    """GPUs with a free slot, each once, in the order in which they are to be used."""
    gpus: int
    """GPUs of the machine, or its slots if it has none."""
    identity: UUID | None = None
    """The identity of the worker's process: a process whose name another one has taken starts nothing."""
    passed_over: tuple[int, ...] = ()
    """Jobs that are left to other workers: this one cannot start them."""
    datasets: tuple[str, ...] = (*LAYOUT, OWN)
    """The data sets that the worker can read; jobs with other data sets are left to other workers."""
    plugins: tuple[str, ...] = tuple(plugins.distributions())
    """The plug-ins that the worker has; jobs that need others are left to other workers."""


class Started(NamedTuple):
    """A job that this worker has just claimed."""

    job_id: int
    attempt: int
    gpus: int
    spec: dict[str, Any]


def start(session: Session, room: Room, token: UUID, settings: Settings) -> Started | None:
    """Start an attempt at the next job for this room, if there is one."""
    session.execute(LOCK_THE_QUEUE)
    values = {
        "worker": room.worker,
        "pool": room.pool,
        "devices": list(room.free),
        "free": len(room.free),
        "machine": room.gpus,
        "datasets": ["", *room.datasets],  # some jobs need none
        "plugins": list(room.plugins),
        "token": token,
        "lease": settings.lease.total_seconds(),
        "half_life": settings.usage_half_life.total_seconds(),
        "soon": SOON.total_seconds(),
        "patience": settings.patience.total_seconds(),
        "identity": room.identity,
        "passed_over": list(room.passed_over),
    }
    row = session.execute(START, values).one_or_none()
    if row is None:
        return None
    started = Started(*row)
    pubsub.notify(session, started.job_id)
    return started


def make_room(session: Session, settings: Settings) -> list[int]:
    """Ask running jobs of lower priority to stop for waiting jobs of higher priority; returns the jobs that were asked.

    A job waits if no machine of its pool has room for it, places that are being vacated included. The job of the lowest
    priority stops first; of equal ones, the one that started last. No job makes room for one whose spec this version
    cannot read: that one would not start, and the next sweep would ask again.
    """
    session.execute(queries.hold(CHOOSERS))
    running = list(session.execute(queries.running_attempts()).scalars())
    lowest = min((attempt.job.priority for attempt in running), default=None)
    if lowest is None:
        return []
    serving = session.execute(queries.serving_workers(settings.lease)).scalars().all()
    floor = _Floor(serving, running)
    for waiting in session.execute(queries.waiting_above(lowest)).scalars():
        with row_failures.alone("making room", f"job {waiting.id}"):
            if is_readable(waiting.spec):
                floor.place(waiting)
    lifecycle.ask_to_stop(session, floor.leaving, Stop.PREEMPT)
    return [attempt.job_id for attempt in floor.leaving]


class _Floor:
    """Which attempts run where, and which will have left."""

    def __init__(self, workers: Sequence[Worker], running: Sequence[Attempt]) -> None:
        self.pools = {worker.name: worker.pool for worker in workers}
        self.plugins = {worker.name: frozenset(worker.plugins or ()) for worker in workers}
        self.free = {worker.name: worker.slots for worker in workers}
        self.staying: list[Attempt] = []
        self.leaving: list[Attempt] = []
        for attempt in running:
            if attempt.stop is None and attempt.worker in self.free:
                self.free[attempt.worker] -= attempt.gpus
                self.staying.append(attempt)

    def place(self, job: Job) -> None:
        """Give a job a place where as few and as unimportant attempts as possible have to leave."""
        able = (
            name for name, pool in self.pools.items() if pool == job.pool and self.plugins[name].issuperset(job.plugins)
        )
        leavers = {name: self._leavers(name, job) for name in able}
        possible = {name: leaving for name, leaving in leavers.items() if leaving is not None}
        if not possible:
            return
        name = min(possible, key=lambda name: [attempt.job.priority for attempt in possible[name]])
        for attempt in possible[name]:
            self.staying.remove(attempt)
            self.leaving.append(attempt)
            self.free[name] += attempt.gpus
        self.free[name] -= job.gpus

    def _leavers(self, worker: str, job: Job) -> list[Attempt] | None:
        """The attempts that have to leave this worker for the job; None if that would not be enough."""
        free, leaving = self.free[worker], []
        lower = [a for a in self.staying if a.worker == worker and a.job.priority < job.priority]
        for attempt in sorted(lower, key=lambda a: (a.job.priority, -a.started_at.timestamp())):
            if free >= job.gpus:
                break
            leaving.append(attempt)
            free += attempt.gpus
        return leaving if free >= job.gpus else None
