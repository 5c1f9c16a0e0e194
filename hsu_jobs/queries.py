"""What do we ask the database? Statement builders, named by the question; whoever holds a session runs them.

Knows SQL. Knows no sessions, and moves nothing: changes of state are in `lifecycle`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import BIGINT
from sqlalchemy.orm import joinedload, selectinload
from sqlalchemy.sql.dml import ReturningUpdate

from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import ApiKey, Attempt, Block, Job, Role, SeriesRow, Submission, User

_now = func.now()
_WHOLE_JOB = select(Job).options(joinedload(Job.owner, innerjoin=True), selectinload(Job.attempts))


def key_by_digest(digest: bytes) -> Select[ApiKey]:
    """The valid key with this digest, and whose it is."""
    expired = ApiKey.expires_at.is_not(None) & (ApiKey.expires_at <= _now)
    return (
        select(ApiKey)
        .where(ApiKey.digest == digest, ApiKey.revoked_at.is_(None), ~expired)
        .options(joinedload(ApiKey.user))
    )


def user_by_name(name: str) -> Select[User]:
    """The user of this name."""
    return select(User).where(User.name == name)


def jobs_visible_to(holder: ApiKey) -> Select[Job]:
    """The jobs that this key may see, with their owners and attempts: its user's own, or all for an admin."""
    return _WHOLE_JOB if holder.role is Role.ADMIN else _WHOLE_JOB.where(Job.owner_id == holder.user_id)


def newest_first(jobs: Select[Job], *, before: int | None, limit: int) -> Select[Job]:
    """A page of jobs: the `limit` newest with an id below `before`."""
    page = jobs.order_by(Job.id.desc()).limit(limit)
    return page if before is None else page.where(Job.id < before)


def job_by_id(job_id: int) -> Select[Job]:
    """A job with its owner and attempts."""
    return _WHOLE_JOB.where(Job.id == job_id)


def submission(owner_id: int, key: str) -> Select[Submission]:
    """What an owner submitted under an idempotency key."""
    return select(Submission).where(Submission.owner_id == owner_id, Submission.key == key)


def hold(name: str) -> Select[Any]:
    """Let nobody else pass this point for the same name until the transaction ends."""
    return select(func.pg_advisory_xact_lock(func.hashtextextended(name, bindparam(None, 0, type_=BIGINT))))


def next_runnable() -> Select[Job]:
    """The oldest queued job that nobody else is just claiming, locked."""
    return (
        select(Job)
        .where(Job.state == State.QUEUED, Job.wanted == Wanted.RUN)
        .order_by(Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )


def runnable_ids(limit: int) -> Select[int]:
    """The queued jobs, oldest first."""
    queued = select(Job.id).where(Job.state == State.QUEUED, Job.wanted == Wanted.RUN)
    return queued.order_by(Job.id).limit(limit)


def attempts_made(job_id: int) -> Select[int]:
    """How often a job was tried."""
    return select(func.count()).select_from(Attempt).where(Attempt.job_id == job_id)


def job_for_update(job_id: int) -> Select[Job]:
    """A job, locked and read anew."""
    return job_by_id(job_id).with_for_update(of=Job).execution_options(populate_existing=True)


def live_attempt(token: UUID) -> Select[Attempt]:
    """The attempt that holds this token, locked, unless it has ended."""
    return select(Attempt).where(_is_live(token)).with_for_update()


def lost_attempts() -> Select[Attempt]:
    """The attempts whose lease has run out, locked."""
    lost = Attempt.ended_at.is_(None) & (Attempt.lease_expires_at < _now)
    return select(Attempt).where(lost).with_for_update(skip_locked=True)


def renew_lease(token: UUID, lease: timedelta) -> ReturningUpdate[int]:
    """Fenced: move a live attempt's expiry; returns nothing if the attempt is no longer live."""
    return update(Attempt).where(_is_live(token)).values(lease_expires_at=_now + lease).returning(Attempt.id)


def note_progress(token: UUID, step: int) -> ReturningUpdate[int, Wanted]:
    """Fenced: note a live attempt's step; returns its job and what the owner wants."""
    wanted = select(Job.wanted).where(Job.id == Attempt.job_id).scalar_subquery()
    noted = update(Attempt).where(_is_live(token)).values(step=func.greatest(Attempt.step, step), progress_at=_now)
    return noted.returning(Attempt.job_id, wanted)


def series_of(job_id: int) -> Select[SeriesRow]:
    """The names of a job's curves."""
    return select(SeriesRow).where(SeriesRow.job_id == job_id).order_by(SeriesRow.number)


def blocks_of(job_id: int, series: list[int], *, first: int, last: int) -> Select[list[int], bytes, bytes, bytes]:
    """A job's blocks that hold any of these series between two steps, both included."""
    within = (Block.last_step >= first) & (Block.first_step <= last)
    columns = select(Block.series, Block.steps, Block.times, Block.points)
    return columns.where(Block.job_id == job_id, within, Block.series.overlap(series)).order_by(Block.first_step)


def holder_of(token: UUID) -> Select[Job, Attempt]:
    """The job and the live attempt behind a token."""
    return select(Job, Attempt).join(Attempt, Attempt.job_id == Job.id).where(_is_live(token))


def _is_live(token: UUID) -> ColumnElement[bool]:
    return (Attempt.token == token) & Attempt.ended_at.is_(None)
