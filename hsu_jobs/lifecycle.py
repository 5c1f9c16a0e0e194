"""What may its owner request of a job? Submit, begin, cancel, pause, resume, prioritise, fork, retry.

The only writer of a job's state, in one function: `move` (and `claiming.START`, which chooses and starts in one
statement). What workers do with a job is in `attempts`. Every call runs inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import TextClause, func, text
from sqlalchemy.orm import Session

from hsu_jobs import queries, row_failures
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.errors import IllegalMove
from hsu_jobs.event_log import record
from hsu_jobs.events import Asked, Cancelled, Expired, Paused, Prioritised, Resumed, Stopping, Submitted
from hsu_jobs.forks import changed
from hsu_jobs.outcomes import PAST_DEADLINE
from hsu_jobs.spec import JobSpec, TrackedJob, is_tracked
from hsu_jobs.states import MOVES, TERMINAL, Action, State, Stop, Wanted, legal
from hsu_jobs.tables import Attempt, CheckpointRow, Job, User


class Queued(NamedTuple):
    """A job that has just been submitted."""

    id: int
    created_at: datetime
    deadline_at: datetime | None
    duplicates: list[int]
    """The newest visible jobs with the same fingerprint, ten at most."""


def submit(session: Session, spec: JobSpec, *, owner: User, going_on_from: CheckpointRow | None = None) -> Job:
    """Queue a job."""
    (queued,) = submit_all(session, [spec], owner_id=owner.id, going_on_from=going_on_from)
    return session.execute(queries.job_by_id(queued.id)).scalar_one()


def submit_all(
    session: Session,
    specs: Sequence[JobSpec],
    *,
    owner_id: int,
    going_on_from: CheckpointRow | None = None,
    sees_all: bool = False,
) -> list[Queued]:
    """Queue a job of each spec, in this order, in one statement; `sees_all`: duplicates are sought among all jobs.

    Submissions come by the hundred a second, so no rows are made into objects here.
    """
    parent, parent_step = (going_on_from.job_id, going_on_from.step) if going_on_from else (None, None)
    values = {
        "jobs": json.dumps([{"place": place} | _asked_for(spec) for place, spec in enumerate(specs)]),
        "owner": owner_id,
        "parent": parent,
        "parent_step": parent_step,
        "event": Submitted(parent=parent, parent_step=parent_step).model_dump_json(),
    }
    return [Queued(*row) for row in session.execute(SUBMIT[sees_all], values)]


_SUBMIT = """
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS asked(
        place int, name text, tags text[], spec jsonb, fingerprint text, priority smallint, gpus smallint,
        pool text, plugins text[], deadline float8)
),
made AS (
    INSERT INTO jobs (owner_id, name, tags, spec, fingerprint, state, wanted, priority, gpus, pool, plugins,
                      parent_id, parent_step, deadline_at)
    SELECT :owner, name, tags, spec, fingerprint, 'queued', 'run', priority, gpus, pool, plugins,
           CAST(:parent AS bigint), CAST(:parent_step AS bigint), now() + make_interval(secs => deadline)
    FROM asked ORDER BY place
    RETURNING id, fingerprint, created_at, deadline_at
),
told AS (
    INSERT INTO events (job_id, event) SELECT id, CAST(:event AS jsonb) FROM made
)
SELECT id, created_at, deadline_at, ARRAY(
    SELECT id FROM jobs WHERE fingerprint = made.fingerprint {visible} ORDER BY id DESC LIMIT 10)
FROM made ORDER BY id
"""
SUBMIT: dict[bool, TextClause] = {
    False: text(_SUBMIT.format(visible="AND owner_id = :owner")),
    True: text(_SUBMIT.format(visible="")),
}
"""By whether all users' jobs are visible."""


def begin(session: Session, spec: TrackedJob, *, owner: User) -> Job:
    """Make the job of a tracked run, which is running from the start: no worker ever claims it."""
    job = Job(
        owner_id=owner.id,
        name=spec.name,
        tags=list(spec.tags),
        spec=spec.model_dump(mode="json"),
        fingerprint=spec.fingerprint,
        state=State.RUNNING,
        wanted=Wanted.RUN,
        gpus=0,
        pool=NO_POOL,
        started_at=func.now(),
    )
    session.add(job)
    session.flush()
    record(session, job.id, Submitted())
    return job


NO_POOL = ""
"""The pool of tracked runs: no worker's."""


def cancel(session: Session, job_id: int) -> Job:
    """Cancel a waiting job at once; ask a running one to stop. Raises `IllegalMove` if it has ended."""
    job = _asked(session, job_id, Action.CANCEL)
    if job.wanted is Wanted.CANCEL:
        return job
    job.wanted = Wanted.CANCEL
    if job.state is State.RUNNING:
        record(session, job.id, Asked(wanted=Wanted.CANCEL))
    else:
        move(job, State.CANCELLED)
        record(session, job.id, Cancelled())
    return job


def pause(session: Session, job_id: int) -> Job:
    """Keep a job from running until it is resumed; a running one first saves its state. Raises `IllegalMove`."""
    job = _asked(session, job_id, Action.PAUSE)
    if job.wanted is Wanted.PAUSE:
        return job
    job.wanted = Wanted.PAUSE
    if job.state is State.RUNNING:
        record(session, job.id, Asked(wanted=Wanted.PAUSE))
    else:
        move(job, State.PAUSED)
        record(session, job.id, Paused())
    return job


def resume(session: Session, job_id: int) -> Job:
    """Let a paused job wait again; withdraw the request if it has not paused yet. Raises `IllegalMove`."""
    job = _asked(session, job_id, Action.RESUME)
    job.wanted = Wanted.RUN
    if job.state is State.PAUSED:
        move(job, State.QUEUED)
    record(session, job.id, Resumed())
    return job


def prioritise(session: Session, job_id: int, priority: int) -> Job:
    """Change a job's priority, also while it runs. Raises `IllegalMove` if it has ended or is to end."""
    job = _asked(session, job_id, Action.PRIORITISE)
    if job.priority != priority:
        job.priority = priority
        record(session, job.id, Prioritised(priority=priority))
    return job


def fork(
    session: Session,
    job_id: int,
    *,
    owner: User,
    step: int | None = None,
    change: Mapping[str, Any] | None = None,
) -> Job:
    """Queue a job that continues from one of this job's checkpoints, by default the newest, with a changed spec.

    Raises `NotFound` or `Gone` if there is no such checkpoint, and what is wrong with the changed spec:
    pydantic's `ValidationError` or `SpecRejected`.
    """
    job = session.execute(queries.job_for_update(job_id)).scalar_one()  # so that the checkpoint is not removed
    checkpoint = checkpoints.at(session, job, step)
    spec = changed(job.spec, change or {}, from_step=checkpoint.step)
    return submit(session, spec, owner=owner, going_on_from=checkpoint)


def retry(session: Session, job_id: int, *, owner: User) -> Job:
    """Queue the spec of an ended job again, as a new job that continues from the last checkpoint, if any.

    Raises `IllegalMove` if it has not ended, and `Gone` if it was to continue from a checkpoint that was removed.
    """
    job = _asked(session, job_id, Action.RETRY)
    last = next(iter(checkpoints.to_resume_from(session, job)), None)
    if last is None and job.parent_id is not None:
        parent = session.execute(queries.job_by_id(job.parent_id)).scalar_one()
        last = checkpoints.at(session, parent, job.parent_step)
    return submit(session, changed(job.spec, {}), owner=owner, going_on_from=last)


def expire_overdue(session: Session) -> list[int]:
    """Fail every waiting job whose deadline has passed, and ask running ones to stop; returns their ids."""
    waiting = session.execute(queries.overdue_jobs()).scalars().all()
    failed = []
    for job, job_id in [(each, each.id) for each in waiting]:
        with row_failures.savepoint(session, "deadlines", f"job {job_id}"):
            move(job, State.FAILED)
            job.failure = PAST_DEADLINE.model_dump(mode="json")
            record(session, job_id, Expired())
            failed.append(job_id)
    running = session.execute(queries.overdue_attempts()).scalars().all()
    ask_to_stop(session, running, Stop.DEADLINE)
    return failed + [attempt.job_id for attempt in running]


def ask_to_stop(session: Session, running: Collection[Attempt], why: Stop) -> None:
    """Ask attempts to stop. All attempts are locked before their jobs, and jobs in order: so there is no deadlock."""
    for attempt in running:
        attempt.stop = why
    session.flush()
    for attempt in sorted(running, key=lambda attempt: attempt.job_id):
        with row_failures.savepoint(session, "requests to stop", f"job {attempt.job_id}"):
            record(session, attempt.job_id, Stopping(attempt=attempt.number, why=why))


def move(job: Job, to: State) -> None:
    """Write a job's state, which nothing else does. Raises `IllegalMove`."""
    if to not in MOVES.get(job.state, ()):
        raise IllegalMove(f"a job that is {job.state} cannot become {to}")
    job.state = to
    if to is State.QUEUED:
        job.runnable_at = func.now()
    if to in TERMINAL:
        job.finished_at = func.now()


def _asked(session: Session, job_id: int, action: Action) -> Job:
    """The job, locked, if this may be requested of it now."""
    job = session.execute(queries.job_for_update(job_id)).scalar_one()
    tracked = is_tracked(job.spec)
    if action not in legal(job.state, job.wanted, is_tracked=tracked):
        raise IllegalMove.of(action, state=job.state, wanted=job.wanted, is_tracked=tracked)
    return job


def _asked_for(spec: JobSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "tags": spec.tags,
        "spec": spec.model_dump(mode="json"),
        "fingerprint": spec.fingerprint,
        "priority": spec.priority,
        "gpus": spec.resources.gpus,
        "pool": spec.resources.pool,
        "plugins": sorted(spec.plugins),
        "deadline": spec.limits.deadline,
    }
