"""What do we ask the database? Statement builders, named by the question; the caller runs them in a session.

Knows SQL. Knows no sessions, and moves nothing: changes of state are in `lifecycle`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Double,
    Insert,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    insert,
    literal,
    literal_column,
    not_,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import BIGINT, JSONB
from sqlalchemy.orm import aliased, joinedload, selectinload
from sqlalchemy.sql.dml import ReturningUpdate

from hsu_jobs.states import TERMINAL, State, Stop, Wanted
from hsu_jobs.tables import (
    ApiKey,
    Attempt,
    CheckpointRow,
    Duty,
    EventRow,
    Installation,
    Job,
    Role,
    SeriesRow,
    User,
    Worker,
)

_now = func.now()
IS_RUNNABLE = literal_column("(jobs.state = 'queued' AND jobs.wanted = 'run')", Boolean)
"""The exact text of the partial index, with which Postgres could match no bound parameter."""
_WHOLE_KEY = select(ApiKey).options(joinedload(ApiKey.user, innerjoin=True))
_WHOLE_JOB = select(Job).options(joinedload(Job.owner, innerjoin=True), selectinload(Job.attempts))


OPENS = and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > _now))
"""Whether a key is neither revoked nor expired, by the database's clock: the hosts' clocks may differ."""


_USED_LONG_AGO = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < _now - timedelta(minutes=1))


def key_by_digest(digest: bytes) -> Select[ApiKey, bool, float | None, bool]:
    """The key with this digest and its user, whether it is valid, the seconds until it expires.

    Last, whether its use should be recorded.
    """
    left = func.extract("epoch", ApiKey.expires_at - _now).cast(Double)
    return _WHOLE_KEY.add_columns(OPENS, left, _USED_LONG_AGO).where(ApiKey.digest == digest)


def keys_that_ended(ids: Collection[int]) -> Select[int, bool]:
    """Those of these keys that are no longer valid, and whether each was revoked."""
    return select(ApiKey.id, ApiKey.revoked_at.is_not(None)).where(ApiKey.id.in_(ids), not_(OPENS))


def made_by(key_id: int) -> Select[int, int | None]:
    """The keys that a key made, those that they made, and so on: ids, with the id of each one's maker."""
    made = select(ApiKey.id, ApiKey.made_by_id).where(ApiKey.made_by_id == key_id).cte(recursive=True)
    further = aliased(ApiKey)
    later = select(further.id, further.made_by_id).where(further.made_by_id == made.c.id)
    whole = made.union(later)
    return select(whole.c.id, whole.c.made_by_id)


def successor_of(key_id: int) -> Select[int]:
    """The key that replaces a key, if one does."""
    return select(ApiKey.id).where(ApiKey.replaces_id == key_id).order_by(ApiKey.id).limit(1)


def not_revoked(ids: Collection[int]) -> Select[int]:
    """Those of these keys that are not revoked."""
    return select(ApiKey.id).where(ApiKey.id.in_(ids), ApiKey.revoked_at.is_(None))


def open_key(key_id: int) -> Select[int]:
    """A key if it is valid, locked so that it is not revoked meanwhile."""
    return select(ApiKey.id).where(ApiKey.id == key_id, OPENS).with_for_update(read=True)


def revoke_keys(ids: Collection[int]) -> ReturningUpdate[int]:
    """Revoke these keys; returns those that were not revoked before."""
    live = update(ApiKey).where(ApiKey.id.in_(ids), ApiKey.revoked_at.is_(None))
    return live.values(revoked_at=_now).returning(ApiKey.id)


def clock() -> Select[datetime]:
    """The database's time, which all processes share."""
    return select(_now)


def keys_visible_to(holder: ApiKey) -> Select[ApiKey]:
    """The keys that this key may see: its user's own, or all for an admin."""
    return _WHOLE_KEY if holder.role is Role.ADMIN else _WHOLE_KEY.where(ApiKey.user_id == holder.user_id)


def note_use(key_id: int) -> Update:
    """Record that a key is used, unless that was recorded within the last minute."""
    return update(ApiKey).where(ApiKey.id == key_id, _USED_LONG_AGO).values(last_used_at=_now)


def user_by_name(name: str) -> Select[User]:
    """The user of this name."""
    return select(User).where(User.name == name)


def jobs_visible_to(holder: ApiKey) -> Select[Job]:
    """The jobs that this key may see, with their owners and attempts: its user's own, or all for an admin."""
    return _WHOLE_JOB if holder.role is Role.ADMIN else _WHOLE_JOB.where(Job.owner_id == holder.user_id)


def ids_visible_to(holder: ApiKey) -> Select[int]:
    """The ids of these jobs, and nothing else of them."""
    ids = select(Job.id)
    return ids if holder.role is Role.ADMIN else ids.where(Job.owner_id == holder.user_id)


def job_by_id(job_id: int) -> Select[Job]:
    """A job with its owner and attempts."""
    return _WHOLE_JOB.where(Job.id == job_id)


def hold(name: str) -> Select[Any]:
    """Take a lock of this name until the transaction ends; wait while another transaction holds it."""
    return select(func.pg_advisory_xact_lock(func.hashtextextended(name, bindparam(None, 0, type_=BIGINT))))


def hold_if_free(name: str) -> Select[bool]:
    """Like `hold`, but without waiting: false if another transaction holds the lock."""
    return select(func.pg_try_advisory_xact_lock(func.hashtextextended(name, bindparam(None, 0, type_=BIGINT))))


def try_session_lock(name: str) -> ColumnElement[bool]:
    """Take a lock that is held until its connection ends; false if another connection holds it."""
    return func.pg_try_advisory_lock(func.hashtextextended(name, bindparam(None, 0, type_=BIGINT)))


def queued_with_live_attempt() -> Select[int]:
    """Queued jobs that still have a live attempt: no further one can start. Only manual changes make such rows."""
    return select(Job.id).join(Attempt, Attempt.job_id == Job.id).where(IS_RUNNABLE, Attempt.ended_at.is_(None))


def runnable_ids(limit: int) -> Select[int]:
    """Jobs that could run now, oldest first."""
    return select(Job.id).where(IS_RUNNABLE, Job.runnable_at <= _now).order_by(Job.id).limit(limit)


def waiting_above(priority: int, *, limit: int = 100) -> Select[Job]:
    """The jobs above a priority that could run now if there were room, in order; quotas are kept."""
    within_quota = User.max_gpus.is_(None) | (User.gpus + Job.gpus <= User.max_gpus)
    waiting = select(Job).join(User, Job.owner_id == User.id)
    chosen = waiting.where(IS_RUNNABLE, Job.runnable_at <= _now, Job.priority > priority, within_quota)
    return chosen.order_by(Job.priority.desc(), Job.id).limit(limit)


def overdue_jobs() -> Select[Job]:
    """The queued and paused jobs whose deadline has passed, locked."""
    waits = literal_column("jobs.state IN ('queued', 'paused')", Boolean)
    return select(Job).where(waits, Job.deadline_at < _now).with_for_update(skip_locked=True)


def running_attempts() -> Select[Attempt]:
    """The live attempts with their jobs."""
    return select(Attempt).where(Attempt.ended_at.is_(None)).options(joinedload(Attempt.job, innerjoin=True))


def running_on(worker: str) -> Select[Attempt]:
    """A worker's live attempts, locked."""
    return select(Attempt).where(Attempt.worker == worker, Attempt.ended_at.is_(None)).with_for_update()


def overdue_attempts() -> Select[Attempt]:
    """The live attempts of jobs whose deadline has passed, if they were not yet asked to stop, locked."""
    overdue = (Attempt.ended_at.is_(None)) & (Attempt.stop.is_distinct_from(Stop.DEADLINE)) & (Job.deadline_at < _now)
    return select(Attempt).join(Job).where(overdue).with_for_update(of=Attempt, skip_locked=True)


def serving_workers(silence: timedelta) -> Select[Worker]:
    """The workers that take jobs and reported within this time; one that lacks its storage takes none."""
    return _active_workers(silence).where(func.cardinality(Worker.lacks) == 0)


def hindered_workers(silence: timedelta) -> Select[Worker]:
    """The workers that take no jobs only because of what they lack, and reported within this time."""
    return _active_workers(silence).where(func.cardinality(Worker.lacks) > 0)


def _active_workers(silence: timedelta) -> Select[Worker]:
    return select(Worker).where(Worker.duty == Duty.ACTIVE, Worker.seen_at > _now - silence)


def served_by(name: str, silence: timedelta) -> Select[UUID | None, bool]:
    """The identity of the process that has a worker's name, and whether it reported within this time; locked."""
    return select(Worker.identity, Worker.seen_at > _now - silence).where(Worker.name == name).with_for_update()


def datasets_of_pools() -> Select[str, list[str] | None]:
    """The data sets that each worker that ever existed, of each pool, could read at its last report."""
    return select(Worker.pool, Worker.datasets)


def largest_machines() -> Select[str, int]:
    """The GPUs of the largest machine that each pool ever had."""
    return select(Worker.pool, func.max(func.cardinality(Worker.devices))).group_by(Worker.pool)


def workers_at_work(silence: timedelta) -> Select[Worker, int, bool]:
    """Every worker that ever existed, with the GPUs in use and whether it reported within this time."""
    in_use = select(func.coalesce(func.sum(Attempt.gpus), 0)).where(
        Attempt.worker == Worker.name, Attempt.ended_at.is_(None)
    )
    is_there = Worker.seen_at > _now - silence
    return select(Worker, in_use.scalar_subquery(), is_there).order_by(Worker.pool, Worker.name)


def events_of(job_id: int, *, after: int, limit: int) -> Select[EventRow]:
    """A job's events after one of them, oldest first."""
    of_job = select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after)
    return of_job.order_by(EventRow.id).limit(limit)


def state_and_events(job_id: int, *, after: int, limit: int) -> Select[State, EventRow | None]:
    """A job's state with each of its events after one, oldest first; with no event if there is none."""
    since = (EventRow.job_id == Job.id) & (EventRow.id > after)
    both = select(Job.state, EventRow).outerjoin(EventRow, since).where(Job.id == job_id)
    return both.order_by(EventRow.id).limit(limit)


def state_of(job_id: int) -> Select[State]:
    """A job's state."""
    return select(Job.state).where(Job.id == job_id)


def is_event_of(job_id: int, event_id: int) -> Select[bool]:
    """Whether a job has an event of this id."""
    return select(exists().where(EventRow.job_id == job_id, EventRow.id == event_id))


def skipped_layers(job_id: int) -> Select[dict[str, str]]:
    """The layers of a job that were told to be left out, and why."""
    of_job = EventRow.job_id == job_id
    return select(EventRow.event["layers"]).where(of_job, EventRow.event["kind"].astext == "skipped")


def happened(job_id: int, event: dict[str, Any]) -> Insert:
    """Record what happened to a job, which is locked first: the event's id is drawn after the inner SELECT."""
    job = select(Job.id.label("job_id"), literal(event, JSONB).label("event")).where(Job.id == job_id)
    return insert(EventRow).from_select(["job_id", "event"], job.with_for_update(key_share=True))


def attempt_of(job_id: int, number: int | None) -> Select[Attempt]:
    """An attempt of a job by its number, or the last one."""
    of_job = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number.desc()).limit(1)
    return of_job if number is None else of_job.where(Attempt.number == number)


def attempts_after(job_id: int, number: int) -> Select[Attempt]:
    """A job's attempts after one of them, in order."""
    return select(Attempt).where(Attempt.job_id == job_id, Attempt.number > number).order_by(Attempt.number)


def ended_before(attempt_id: int, since: timedelta) -> Select[bool]:
    """Whether an attempt ended longer ago than this."""
    return select(func.coalesce(Attempt.ended_at < _now - since, false())).where(Attempt.id == attempt_id)


def checkpoints_of(job_id: int) -> Select[CheckpointRow]:
    """Every checkpoint that a job ever had, newest first: by step, and for one step the last attempt's first."""
    of_job = select(CheckpointRow).where(CheckpointRow.job_id == job_id)
    return of_job.order_by(CheckpointRow.step.desc(), CheckpointRow.attempt.desc())


def kept_checkpoints(*, after: int = 0, limit: int | None = None) -> Select[CheckpointRow]:
    """The checkpoints of all jobs that are still kept, those after an id, in the order of ids."""
    kept = select(CheckpointRow).where(CheckpointRow.removed_at.is_(None), CheckpointRow.id > after)
    return kept.order_by(CheckpointRow.id).limit(limit)


def newest_kept_checkpoint() -> Select[CheckpointRow]:
    """The one of these that was recorded last."""
    kept = select(CheckpointRow).where(CheckpointRow.removed_at.is_(None))
    return kept.order_by(CheckpointRow.id.desc()).limit(1)


def checkpoint_for_update(checkpoint_id: int) -> Select[CheckpointRow]:
    """A checkpoint, locked and read again, unless it was removed."""
    kept = select(CheckpointRow).where(CheckpointRow.id == checkpoint_id, CheckpointRow.removed_at.is_(None))
    return kept.with_for_update().execution_options(populate_existing=True)


def installation() -> Select[Installation]:
    """Which installation this is."""
    return select(Installation)


def installation_for_update() -> Select[Installation]:
    """Which installation this is, locked and read again."""
    return select(Installation).with_for_update().execution_options(populate_existing=True)


def steps_in_use(job_id: int) -> CompoundSelect[str | None]:
    """The steps of this job from which jobs that have not ended continue, or whose weights they start from.

    As text, like the numbers in a spec: one that this version cannot read must not end the query.
    """
    under_way = Job.state.not_in(TERMINAL)
    forks = select(cast(Job.parent_step, Text)).where(Job.parent_id == job_id, under_way)
    started = select(Job.spec["initial", "step"].astext).where(
        Job.spec["initial", "job"].astext == str(job_id), under_way
    )
    return union(forks, started)


def job_for_update(job_id: int) -> Select[Job]:
    """A job, locked and read again."""
    return job_by_id(job_id).with_for_update(of=Job).execution_options(populate_existing=True)


def live_attempt(token: UUID) -> Select[Attempt]:
    """The attempt that holds this token, locked, unless it has ended."""
    return select(Attempt).where(_is_live(token)).with_for_update()


def outcome_of(token: UUID) -> Select[dict[str, Any] | None]:
    """How the attempt ended that had this token; null while it has not."""
    return select(Attempt.outcome).where(Attempt.token == token)


def lost_attempts() -> Select[Attempt]:
    """The attempts whose lease has run out, locked; by owner, so that two processes that end them never deadlock."""
    lost = Attempt.ended_at.is_(None) & (Attempt.lease_expires_at < _now)
    in_order = select(Attempt).join(Job).where(lost).order_by(Job.owner_id, Attempt.id)
    return in_order.with_for_update(of=Attempt, skip_locked=True)


def renew_lease(token: UUID, lease: timedelta) -> ReturningUpdate[Wanted, Stop | None, float]:
    """Fenced: renew a live attempt's lease; returns what is wanted, and the seconds since its last progress."""
    wanted = select(Job.wanted).where(Job.id == Attempt.job_id).scalar_subquery()
    idle = func.extract("epoch", _now - func.coalesce(Attempt.progress_at, Attempt.started_at)).cast(Double)
    renewed = update(Attempt).where(_is_live(token)).values(lease_expires_at=_now + lease)
    return renewed.returning(wanted, Attempt.stop, idle)


def note_progress(token: UUID, step: int, recorded: int) -> ReturningUpdate[int, Wanted, Stop | None, int]:
    """Fenced: record a live attempt's step, and up to which its curves are written.

    Returns its job, what the owner wants, what the service wants, and up to which step they were written before.
    """
    wanted = select(Job.wanted).where(Job.id == Attempt.job_id).scalar_subquery()
    before = select(Attempt.id, Attempt.recorded).where(_is_live(token)).with_for_update().cte("before")
    grown = case((Attempt.step < step, _now), else_=Attempt.progress_at)
    values = {
        "step": func.greatest(Attempt.step, step),
        "recorded": func.greatest(Attempt.recorded, recorded),
        "progress_at": grown,
    }
    noted = update(Attempt).where(Attempt.id == before.c.id).values(values)
    return noted.returning(Attempt.job_id, wanted, Attempt.stop, before.c.recorded)


def lineage(job_id: int) -> Select[int, int | None]:
    """A job and those that it continues, newest first, each with the step before which its curves count."""
    line = (
        select(Job.id, Job.parent_id, Job.parent_step, literal(None, BIGINT).label("before"))
        .where(Job.id == job_id)
        .cte(recursive=True)
    )
    parent = aliased(Job)
    before = func.least(line.c.parent_step, line.c.before)
    earlier = select(parent.id, parent.parent_id, parent.parent_step, before).where(parent.id == line.c.parent_id)
    whole = line.union_all(earlier)
    return select(whole.c.id, whole.c.before)


def series_of(job_id: int) -> Select[SeriesRow]:
    """The names of a job's curves."""
    return select(SeriesRow).where(SeriesRow.job_id == job_id).order_by(SeriesRow.number)


def holder_of(token: UUID) -> Select[Job, Attempt]:
    """The job and the live attempt behind a token; the attempt is locked, so that it does not end in between."""
    both = select(Job, Attempt).join(Attempt, Attempt.job_id == Job.id)
    return both.where(_is_live(token)).with_for_update(of=Attempt)


def _is_live(token: UUID) -> ColumnElement[bool]:
    return (Attempt.token == token) & Attempt.ended_at.is_(None)
