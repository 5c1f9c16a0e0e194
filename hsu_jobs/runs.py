"""What does the client of a tracked run do? Begin it, come back to it, send points and lines, and end it, once.

A tracked run is a job whose loop runs elsewhere. Its client holds an attempt as a worker does: the token fences every
write, and silence past the lease makes the run `lost`. The client chooses the token, so that a repeated request begins
nothing twice. A batch of points has a number, one more than that of the batch before, and is applied once: the number
of the last one is in the attempt's row, and is checked and written in the transaction that writes the points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from hsu_jobs import attempts, curves, lifecycle, pubsub, queries, run_files
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import DesiredState
from hsu_jobs.curves import Columns
from hsu_jobs.errors import AttemptEnded, BatchOutOfOrder, IllegalMove
from hsu_jobs.event_log import record
from hsu_jobs.events import Restored, Started, kind_of
from hsu_jobs.outcomes import Lost, Outcome
from hsu_jobs.settings import Settings
from hsu_jobs.spec import TrackedJob, is_tracked
from hsu_jobs.states import TERMINAL, State, Wanted
from hsu_jobs.tables import Attempt, Job, User


class Client(NamedTuple):
    """Who comes to a run."""

    token: UUID
    """Chosen by the client, a new one for each attempt."""
    host: str
    environment: Mapping[str, Any] | None = None


class Standing(NamedTuple):
    """What a client should know of its run."""

    job_id: int
    attempt: int
    applied: int
    """The number of the last batch that is applied."""
    step: int
    """The step from which the client logs on."""
    desired: DesiredState
    left_out: int = 0
    """Values of this batch that were left out, because their curve has that step or a later one."""


def begin(
    session: Session, spec: TrackedJob, client: Client, *, owner: User, settings: Settings, at: float | None = None
) -> Standing:
    """Begin a run; a repeated request with the same token returns the same run.

    `at`: when it began, in seconds since the epoch, if that was not now.
    """
    if known := _known(session, client.token):
        return _standing(*known)
    job = lifecycle.begin(session, spec, owner=owner)
    attempt = _start(session, job, client, settings=settings)
    attempt.begun_at = func.now()
    if at is not None:
        job.started_at = attempt.started_at = func.to_timestamp(at)
        session.flush()
    return _standing(job, attempt)


def come_back(
    session: Session,
    job_id: int,
    client: Client,
    *,
    step: int | None = None,
    after: UUID | None = None,
    settings: Settings,
) -> Standing:
    """Start a new attempt at a run that is lost, paused or running; what it has from `step` on is deleted.

    That is points from this step on, and states that were saved after it. Without a step nothing is deleted.
    `after` is the token of the client's own attempt that was lost: the numbers of its batches go on, and if another
    attempt has begun since, the run is that one's. A repeated request with the same token returns the same attempt.
    Raises `IllegalMove` and `AttemptEnded`.
    """
    if (known := _known(session, client.token)) and known[0].id == job_id:
        return _standing(*known)
    job = session.execute(queries.job_for_update(job_id)).scalar_one()
    _require_open(job)
    last = session.execute(queries.attempt_of(job_id, None)).scalar_one()
    if after is not None and last.token != after:
        raise AttemptEnded(f"another client came back to run {job_id}: attempt {last.number} is its own")
    if last.ended_at is None:  # its client is gone, or it has to go: this request is its owner's
        attempts.settle(session, last.token, Lost(), settings)
        session.flush()
        job = session.execute(queries.job_for_update(job_id)).scalar_one()
        _require_open(job)
    job.wanted = Wanted.RUN
    lifecycle.move(job, State.RUNNING)
    attempt = _start(session, job, client, number=last.number + 1, settings=settings)
    _resume(session, attempt, last, step=step, goes_on=after is not None)
    return _standing(job, attempt)


def apply(
    session: Session, job_id: int, token: UUID, number: int, batch: Sequence[Columns], settings: Settings
) -> Standing:
    """Write the points of a batch, unless they are written. Raises `AttemptEnded` and `BatchOutOfOrder`."""
    job, attempt = attempts.held_run(session, job_id, token)
    if number > attempt.applied + 1:
        raise BatchOutOfOrder(f"batch {attempt.applied + 1} comes next, found {number}")
    left_out = 0
    if number == attempt.applied + 1:
        left_out = curves.append(session, job_id, batch)
        attempt.applied = number
        if batch:
            last = max(int(columns.steps[-1]) for columns in batch)
            attempt.step = max(attempt.step, last)
            attempt.recorded = max(attempt.recorded, last)
            attempt.progress_at = func.now()
            pubsub.notify(session, job_id)
    attempt.lease_expires_at = func.now() + settings.tracked_lease
    return _standing(job, attempt)._replace(left_out=left_out)


def renew(session: Session, job_id: int, token: UUID, settings: Settings) -> Standing:
    """Renew the lease. Raises `AttemptEnded`."""
    return apply(session, job_id, token, 0, (), settings)


def print_lines(
    session: Session, job_id: int, token: UUID, first_byte: int, content: bytes, settings: Settings
) -> None:
    """Keep a part of what the loop printed; one that comes again is kept once. Raises `AttemptEnded`."""
    attempts.held_run(session, job_id, token)
    logs.append(session, token, first_byte, content, limit=settings.log_limit)


def end(
    session: Session, job_id: int, token: UUID, outcome: Outcome, settings: Settings, *, at: float | None = None
) -> State:
    """End the attempt, and return the run's new state; a repeated request changes nothing. Raises `AttemptEnded`.

    `at`: when it ended, in seconds since the epoch, if that was not now; it did not before it began.
    """
    attempt = session.execute(
        select(Attempt).where(Attempt.token == token, Attempt.job_id == job_id)
    ).scalar_one_or_none()
    if attempt is not None and attempt.ended_at is not None and kind_of(attempt.outcome) == outcome.kind:
        return session.execute(queries.state_of(job_id)).scalar_one()
    job, attempt = attempts.held_run(session, job_id, token)
    state = attempts.settle(session, token, outcome, settings)
    if at is not None:
        session.flush()
        attempt.ended_at = func.greatest(attempt.started_at, func.to_timestamp(at))
        if state in TERMINAL:
            job.finished_at = func.greatest(job.started_at, func.to_timestamp(at))
    return state


def environment(session: Session, attempt_id: int) -> dict[str, Any]:
    """Where an attempt's client runs, as it described it; empty if it did not."""
    row = select(Attempt).where(Attempt.id == attempt_id).options(undefer(Attempt.environment))
    found = session.execute(row.execution_options(populate_existing=True)).scalar_one()
    return found.environment or {}


def _known(session: Session, token: UUID) -> tuple[Job, Attempt] | None:
    """The run and the attempt with this token, if it was used before; no other transaction is using it."""
    session.execute(queries.hold(f"token {token}"))
    row = select(Job, Attempt).join(Attempt, Attempt.job_id == Job.id).where(Attempt.token == token)
    found = session.execute(row).one_or_none()
    return None if found is None else (found[0], found[1])


def _start(session: Session, job: Job, client: Client, *, number: int = 1, settings: Settings) -> Attempt:
    worker = f"client:{client.host}"  # no worker has a name with a colon
    attempt = Attempt(
        job_id=job.id,
        number=number,
        worker=worker,
        device="",
        gpus=0,
        token=client.token,
        lease_expires_at=func.now() + settings.tracked_lease,
        environment=dict(client.environment) if client.environment else None,
    )
    session.add(attempt)
    session.flush()
    record(session, job.id, Started(attempt=number, worker=worker, device=""))
    return attempt


def _resume(session: Session, attempt: Attempt, last: Attempt, *, step: int | None, goes_on: bool) -> None:
    attempt.begun_at = func.now()
    written = max(last.recorded, (last.resumed_from or 0) - 1)
    at = written + 1 if step is None else min(step, written + 1)
    if step is not None:
        curves.roll_back(session, attempt.job_id, at)
        run_files.forget_after(session, attempt.job_id, at)
    attempt.resumed_from = attempt.step = at
    attempt.recorded = at - 1
    attempt.applied = last.applied if goes_on else 0
    record(session, attempt.job_id, Restored(attempt=attempt.number, step=at))
    session.flush()


def _require_open(job: Job) -> None:
    if not is_tracked(job.spec):
        raise IllegalMove(f"job {job.id} is no tracked run: POST /v1/jobs/{job.id}/resume resumes it if it is paused")
    if job.state in TERMINAL:
        raise IllegalMove(
            f"run {job.id} has {job.state}: what has ended stays as it is; begin a new run", state=job.state
        )


def _standing(job: Job, attempt: Attempt) -> Standing:
    return Standing(job.id, attempt.number, attempt.applied, attempt.step, DesiredState(job.wanted, attempt.stop))
