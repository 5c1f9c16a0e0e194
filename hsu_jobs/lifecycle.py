"""What happens to a job? Submit, claim, renew, progress, settle, cancel, expire.

The only writer of a job's state, through one door: `move`. Every call runs inside the caller's transaction; every
write of a worker is fenced by its attempt's token, and a token that is no longer live raises `LeaseLost`.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.errors import IdempotencyConflict, IllegalMove, LeaseLost
from hsu_jobs.events import CancelRequested, Ended, Event, Started, Submitted
from hsu_jobs.outcomes import OUTCOME, Cancelled, Failure, Lost, Outcome, Succeeded, in_brief, verdict
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.states import MOVES, TERMINAL, State, Wanted
from hsu_jobs.tables import Attempt, Block, EventRow, Job, SeriesRow, Submission, User


class Claim(NamedTuple):
    """What a worker holds while it runs a job."""

    job_id: int
    attempt: int
    token: UUID


def submit(session: Session, spec: JobSpec, *, owner: User, idempotency_key: str | None = None) -> Job:
    """Queue a job; the same idempotency key and spec give the same job, however often they come.

    Raises `IdempotencyConflict` if the key came with another spec before.
    """
    digest = hashlib.sha256(spec.model_dump_json().encode()).digest()
    if idempotency_key and (earlier := _submitted_before(session, owner, idempotency_key, digest)):
        return earlier
    job = Job(
        owner=owner,
        attempts=[],
        name=spec.name,
        tags=list(spec.tags),
        spec=spec.model_dump(mode="json"),
        fingerprint=spec.fingerprint,
        state=State.QUEUED,
        wanted=Wanted.RUN,
    )
    session.add(job)
    session.flush()
    _record(session, job, Submitted())
    if idempotency_key:
        session.add(Submission(owner_id=owner.id, key=idempotency_key, spec_sha256=digest, job_id=job.id))
    return job


def request_cancel(session: Session, job_id: int) -> None:
    """Cancel a queued job at once; ask a running one to stop. Raises `IllegalMove` if it has ended."""
    job = session.execute(queries.job_for_update(job_id)).scalar_one()
    if job.state in TERMINAL:
        raise IllegalMove.of(job.state, State.CANCELLED)
    if job.wanted is Wanted.CANCEL:
        return
    job.wanted = Wanted.CANCEL
    _record(session, job, CancelRequested())
    if job.state is State.QUEUED:
        move(job, State.CANCELLED)


def claim(session: Session, *, worker: str, device: str, lease: timedelta) -> Claim | None:
    """Take the next runnable job, if there is one, and start an attempt at it from the beginning."""
    job = session.execute(queries.next_runnable()).scalar_one_or_none()
    if job is None:
        return None
    number = session.execute(queries.attempts_made(job.id)).scalar_one() + 1
    attempt = Attempt(
        job_id=job.id,
        number=number,
        worker=worker,
        device=device,
        token=uuid.uuid4(),
        lease_expires_at=func.now() + lease,
    )
    session.add(attempt)
    _forget_curves(session, job.id)
    move(job, State.RUNNING)
    _record(session, job, Started(attempt=number, worker=worker, device=device))
    return Claim(job.id, number, attempt.token)


def held(session: Session, token: UUID) -> tuple[Job, Attempt]:
    """The job and the attempt that a token stands for. Raises `LeaseLost`."""
    row = session.execute(queries.holder_of(token)).one_or_none()
    if row is None:
        raise LeaseLost
    return row.tuple()


def renew(session: Session, token: UUID, *, lease: timedelta) -> None:
    """Keep an attempt alive for another lease. Raises `LeaseLost`."""
    if session.execute(queries.renew_lease(token, lease)).one_or_none() is None:
        raise LeaseLost


def progress(session: Session, token: UUID, *, step: int) -> tuple[int, Wanted]:
    """Note how far an attempt is; returns its job's id and what the owner wants by now. Raises `LeaseLost`.

    The attempt stays locked until the transaction ends: curves written in it cannot come after another's.
    """
    row = session.execute(queries.note_progress(token, step)).one_or_none()
    if row is None:
        raise LeaseLost
    job_id, wanted = row
    return job_id, wanted


def settle(session: Session, token: UUID, outcome: Outcome) -> State:
    """End an attempt; returns what the job became. Raises `LeaseLost`."""
    attempt = session.execute(queries.live_attempt(token)).scalar_one_or_none()
    if attempt is None:
        raise LeaseLost
    return _end(session, attempt, outcome)


def expire(session: Session) -> list[int]:
    """End every attempt whose lease has run out; returns the ids of their jobs."""
    lost = session.execute(queries.lost_attempts()).scalars().all()
    for attempt in lost:
        _end(session, attempt, Lost())
    return [attempt.job_id for attempt in lost]


def move(job: Job, to: State) -> None:
    """The one door: write a job's state. Raises `IllegalMove`."""
    if to not in MOVES[job.state]:
        raise IllegalMove.of(job.state, to)
    job.state = to
    if to is State.RUNNING and job.started_at is None:
        job.started_at = func.now()
    if to in TERMINAL:
        job.finished_at = func.now()


def _end(session: Session, attempt: Attempt, outcome: Outcome) -> State:
    job = session.execute(queries.job_for_update(attempt.job_id)).scalar_one()
    spec = parse(job.spec)
    to, failure = verdict(outcome, attempts=attempt.number, max_attempts=spec.limits.max_attempts, wanted=job.wanted)
    attempt.ended_at = func.now()
    attempt.outcome = OUTCOME.dump_python(in_brief(outcome), mode="json")
    move(job, to)
    _note_ending(job, outcome, failure)
    _record(session, job, Ended(attempt=attempt.number, outcome=in_brief(outcome), state=to))
    return to


def _note_ending(job: Job, outcome: Outcome, failure: Failure | None) -> None:
    if isinstance(outcome, Succeeded):
        job.result = outcome.model_dump(mode="json")["result"]
    if isinstance(outcome, Cancelled):
        job.wanted = Wanted.CANCEL
    if failure:
        job.failure = failure.model_dump(mode="json")


def _submitted_before(session: Session, owner: User, key: str, digest: bytes) -> Job | None:
    session.execute(queries.hold(f"submission {owner.id} {key}"))
    earlier = session.execute(queries.submission(owner.id, key)).scalar_one_or_none()
    if earlier is None:
        return None
    if earlier.spec_sha256 != digest:
        raise IdempotencyConflict(
            f"Idempotency-Key {key!r} made job {earlier.job_id} from another spec; "
            "use a new key for a new job, or send the same spec again"
        )
    return session.execute(queries.job_by_id(earlier.job_id)).scalar_one()


def _forget_curves(session: Session, job_id: int) -> None:
    session.execute(delete(Block).where(Block.job_id == job_id))
    session.execute(delete(SeriesRow).where(SeriesRow.job_id == job_id))


def _record(session: Session, job: Job, event: Event) -> None:
    session.add(EventRow(job_id=job.id, event=event.model_dump(mode="json")))
