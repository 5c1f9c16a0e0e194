"""What does a worker do with a job? Claim it, resume from a checkpoint, report progress, and end it, once.

Every write is fenced by the attempt's token: for an attempt that is no longer live it raises `LeaseLost`, and what it
was to write is dropped. Every call runs inside the caller's transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import takewhile
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from hsu_core import outcomes as core
from hsu_jobs import curves, pubsub, queries, row_failures
from hsu_jobs.artifacts import answers, checkpoints, missing_checkpoints
from hsu_jobs.cluster import claiming, fair_share, workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.curves import Point
from hsu_jobs.errors import AttemptEnded, LeaseLost, SpecNotReadable
from hsu_jobs.event_log import record
from hsu_jobs.events import Damaged, Ended, Restored, Saved, Skipped, kind_of
from hsu_jobs.lifecycle import move
from hsu_jobs.outcomes import (
    OUTCOME,
    Asked,
    Broken,
    Cancelled,
    Failure,
    Lost,
    Outcome,
    Overdue,
    Paused,
    Preempted,
    Released,
    Succeeded,
    Unavailable,
    in_brief,
    verdict,
    verdict_of_run,
)
from hsu_jobs.settings import Settings
from hsu_jobs.spec import Limits, is_tracked, limits_of, read
from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables import Attempt, CheckpointRow, Job

LONGEST_BACKOFF = timedelta(minutes=5)


class Claim(NamedTuple):
    """What a worker holds while it runs a job."""

    job_id: int
    attempt: int
    token: UUID
    devices: tuple[str, ...] = ()
    limits: Limits = Limits()
    dataset: str = ""
    """The kind of data set that it reads, if any."""


class DesiredState(NamedTuple):
    """What its owner and the service want of a running attempt.

    Two processes read it. The runner gets it with each write of curves, within `HSU_FLUSH`, and stops at its next step.
    The supervisor gets it with each renewal of the lease: it also reaches a runner that does not write (it imports,
    reads data, or hangs), and sees when a runner that should stop does not.
    """

    wanted: Wanted
    """What the owner wants."""
    stop: Stop | None
    """Why the service wants it to stop; None if it does not."""

    @property
    def asks_to_stop(self) -> bool:
        """Whether the attempt has to stop."""
        return self.wanted is not Wanted.RUN or self.stop is not None


def claim(session: Session, room: Room, settings: Settings) -> Claim | None:
    """Claim the next job for this room, if there is one, and start an attempt at it.

    Raises `SpecNotReadable`, with the job's id, if this version cannot read its spec: then the caller has to roll back,
    and to leave the job to a worker that can.
    """
    token = uuid.uuid4()
    started = claiming.start(session, room, token, settings)
    if started is None:
        return None
    try:
        spec = read(started.spec)
    except SpecNotReadable as error:
        error.job_id = started.job_id
        raise
    dataset = spec.required_dataset.kind if spec.required_dataset else ""
    return Claim(started.job_id, started.attempt, token, room.free[: started.gpus], spec.limits, dataset)


def held(session: Session, token: UUID) -> tuple[Job, Attempt]:
    """The job and the attempt that a token stands for. Raises `LeaseLost`."""
    row = session.execute(queries.holder_of(token)).one_or_none()
    if row is None:
        raise LeaseLost
    job, attempt = row
    return job, attempt


def held_run(session: Session, job_id: int, token: UUID) -> tuple[Job, Attempt]:
    """The tracked run and the attempt that a client holds. Raises `AttemptEnded`."""
    row = session.execute(queries.holder_of(token)).one_or_none()
    if row is None or row[0].id != job_id:
        raise AttemptEnded("its lease ran out, it was ended, or another client came back to the run")
    return row[0], row[1]


def begin(session: Session, token: UUID, checkpoint: CheckpointRow | None) -> None:
    """Roll everything back to a checkpoint, or to the start: what follows is written again. Raises `LeaseLost`."""
    job, attempt = held(session, token)
    attempt.begun_at = func.now()
    if checkpoint is None:
        curves.roll_back(session, job.id, 0)
        checkpoints.forget_after(session, job.id, -1)
        pubsub.notify(session, job.id)
        return
    attempt.resumed_from = attempt.step = checkpoint.step
    record(session, job.id, Restored(attempt=attempt.number, step=checkpoint.step))
    curves.roll_back(session, job.id, checkpoint.step)  # after the job is locked, as in maintenance
    checkpoints.forget_after(session, job.id, checkpoint.step)


def note_damage(session: Session, token: UUID, checkpoint: CheckpointRow, message: str) -> None:
    """Mark a checkpoint as damaged: no attempt resumes from it again. Raises `LeaseLost`."""
    held(session, token)
    record(session, checkpoint.job_id, Damaged(step=checkpoint.step, message=message))
    checkpoints.note_damage(session.merge(checkpoint))


def note_missing(session: Session, token: UUID, checkpoint: CheckpointRow) -> None:
    """Mark a checkpoint as missing: its file is certainly not in the storage. Raises `LeaseLost`."""
    held(session, token)
    missing_checkpoints.note(session, checkpoint)


def renew(session: Session, token: UUID, *, lease: timedelta) -> tuple[DesiredState, timedelta]:
    """Renew an attempt's lease; returns its desired state, and the time since its last progress.

    Raises `LeaseLost`.
    """
    row = session.execute(queries.renew_lease(token, lease)).one_or_none()
    if row is None:
        raise LeaseLost
    wanted, stop, idle = row
    return DesiredState(wanted, stop), timedelta(seconds=idle)


def progress(
    session: Session,
    token: UUID,
    *,
    step: int,
    points: Sequence[Point] = (),
    references: Mapping[core.Series, core.Reference] = MappingProxyType({}),
    saved: Sequence[tuple[core.Saved, str]] = (),
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> DesiredState:
    """Record how far an attempt is, what it measured and which checkpoints (and where) it saved since.

    `skipped`: layers that the regularizer leaves out, and why; an attempt that leaves out the same ones as an earlier
    attempt at the job is no news.

    All in one transaction: a checkpoint is known only with the curves before it. Raises `LeaseLost`.
    """
    recorded = max((point.step for point in points), default=-1)
    row = session.execute(queries.note_progress(token, step, recorded)).one_or_none()
    if row is None:
        raise LeaseLost
    job_id, wanted, stop, before = row
    fresh = [point for point in points if point.step > before]  # a flush may be repeated after its blocks are merged
    curves.write(session, job_id, fresh, references=references)
    if fresh:
        pubsub.notify(session, job_id)
    if skipped:
        _, attempt = held(session, token)
        _note_skipped(session, attempt, skipped)
    if saved:
        _, attempt = held(session, token)
        for state, path in saved:
            session.add(_row(job_id, attempt.number, state, path))
            record(session, job_id, Saved(attempt=attempt.number, step=state.step))
    return DesiredState(wanted, stop)


def _note_skipped(session: Session, attempt: Attempt, layers: Mapping[str, str]) -> None:
    told = session.execute(queries.skipped_layers(attempt.job_id)).scalars()
    if dict(layers) not in told:
        record(session, attempt.job_id, Skipped(attempt=attempt.number, layers=dict(layers)))


def settle(session: Session, token: UUID, outcome: Outcome, settings: Settings) -> State:
    """End an attempt; returns the job's new state. Raises `LeaseLost`."""
    return _end(session, _live(session, token), outcome, settings)


def release(session: Session, token: UUID, settings: Settings) -> Outcome:
    """End an attempt that stopped on request; returns the outcome that it counts as. Raises `LeaseLost`."""
    attempt = _live(session, token)
    job = session.execute(queries.job_for_update(attempt.job_id)).scalar_one()
    outcome = _as_asked(DesiredState(job.wanted, attempt.stop))
    _end(session, attempt, outcome, settings)
    return outcome


def expire(session: Session, settings: Settings) -> list[int]:
    """End every attempt whose lease has run out; returns the ids of their jobs."""
    lost = session.execute(queries.lost_attempts()).scalars().all()
    ended = []
    for attempt, attempt_id, job_id in [(each, each.id, each.job_id) for each in lost]:
        with row_failures.savepoint(session, "expired leases", f"attempt {attempt_id} of job {job_id}"):
            _end(session, attempt, Lost(), settings)
            ended.append(job_id)
    return ended


def lacked_dataset(session: Session, token: UUID) -> bool:
    """Whether an attempt ended because its worker could not read the data set."""
    outcome = session.execute(queries.outcome_of(token)).scalar_one_or_none()
    return (outcome or {}).get("code") == "dataset_unavailable"


def _live(session: Session, token: UUID) -> Attempt:
    attempt = session.execute(queries.live_attempt(token)).scalar_one_or_none()
    if attempt is None:
        raise LeaseLost
    return attempt


def _as_asked(desired: DesiredState) -> Asked | Overdue:
    match desired.wanted, desired.stop:
        case Wanted.CANCEL, _:
            return Cancelled()
        case _, Stop.DEADLINE:
            return Overdue()
        case Wanted.PAUSE, _:
            return Paused()
        case _, Stop.PREEMPT:
            return Preempted()
        case _:
            return Released()


def _end(session: Session, attempt: Attempt, outcome: Outcome, settings: Settings) -> State:
    job = session.execute(queries.job_for_update(attempt.job_id)).scalar_one()
    if _got_further(session, attempt):
        job.strikes = 0
    job.strikes += isinstance(outcome, Broken)
    to, failure = _verdict(job, outcome)
    attempt.ended_at = func.now()
    attempt.outcome = OUTCOME.dump_python(in_brief(outcome), mode="json")
    if job.state is not State.RUNNING:  # written by hand: the attempt must end anyway, or it blocks every later one
        session.execute(fair_share.give_back(job.owner_id, gpus=attempt.gpus, half_life=settings.usage_half_life))
        return job.state
    move(job, to)
    if isinstance(outcome, Broken) and not isinstance(outcome, Lost):
        job.runnable_at = func.now() + _backoff(job.strikes, settings.retry_after)
    if isinstance(outcome, Unavailable):
        job.runnable_at = func.now() + _backoff(_times_unavailable(job), settings.retry_after)
    _note_ending(session, job, outcome, failure)
    session.execute(fair_share.give_back(job.owner_id, gpus=attempt.gpus, half_life=settings.usage_half_life))
    workers.note_ending(session, attempt.worker, outcome)
    record(session, job.id, Ended(attempt=attempt.number, outcome=in_brief(outcome), state=to))
    return to


def _verdict(job: Job, outcome: Outcome) -> tuple[State, Failure | None]:
    if is_tracked(job.spec):
        return verdict_of_run(outcome, wanted=job.wanted)
    limits = limits_of(job.spec)
    return verdict(outcome, failure_count=job.strikes, max_failures=limits.max_attempts, wanted=job.wanted)


def _got_further(session: Session, attempt: Attempt) -> bool:
    rows = session.execute(queries.checkpoints_of(attempt.job_id)).scalars()
    newest = next((row for row in rows if row.removed_at is None), None)
    return newest is not None and newest.attempt == attempt.number and newest.step > (attempt.resumed_from or 0)


def _times_unavailable(job: Job) -> int:
    """How many of the last attempts, in a row, ended because something that they need was unavailable."""
    ended = (attempt.outcome for attempt in reversed(job.attempts))
    return sum(1 for _ in takewhile(lambda outcome: kind_of(outcome) == "unavailable", ended))


def _backoff(strikes: int, first: timedelta) -> timedelta:
    doubled: int = 2 ** min(strikes - 1, 20)
    return min(first * doubled, LONGEST_BACKOFF)


def _note_ending(session: Session, job: Job, outcome: Outcome, failure: Failure | None) -> None:
    if isinstance(outcome, Succeeded):
        job.result = outcome.model_dump(mode="json")["result"]
        if outcome.answers:
            answers.keep(session, job.id, outcome.answers)
    if failure:
        job.failure = failure.model_dump(mode="json")


def _row(job_id: int, attempt: int, saved: core.Saved, path: str) -> CheckpointRow:
    return CheckpointRow(
        job_id=job_id,
        attempt=attempt,
        step=saved.step,
        path=path,
        sha256=saved.sha256,
        bytes=saved.bytes,
        metric=saved.metric,
        is_best=saved.is_best,
    )
