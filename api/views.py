"""What do answers look like? The shapes that leave the service; NaN and infinities leave as strings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from hsu_jobs import waiting
from hsu_jobs.events import EVENT, Event
from hsu_jobs.outcomes import RESULT, Failure, Result
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables import Attempt, EventRow, Job
from hsu_jobs.waiting import Waiting


class View(BaseModel):
    """A shape that leaves the service."""

    model_config = ConfigDict(ser_json_inf_nan="strings", use_attribute_docstrings=True)


class AttemptView(View):
    """One try at a job."""

    number: int
    worker: str
    device: str
    gpus: int
    started_at: datetime
    ended_at: datetime | None
    resumed_from: int | None
    """The step of the checkpoint that it went on from; null if it began at the beginning."""
    step: int
    """The last step that it told of."""
    progress_at: datetime | None
    """When it last told of a further one."""
    stop: Stop | None
    """Why the service asked it to stop."""
    outcome: dict[str, Any] | None
    """How it ended: its `kind` is succeeded, cancelled, paused, preempted, released, overdue, failed, crashed, stalled,
    faulty or lost."""

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(attempt, name) for name in cls.model_fields})


class ParentView(View):
    """What a job goes on from."""

    id: int
    step: int
    """Of the checkpoint; the job's own curves begin there."""


class WaitingView(View):
    """Why a queued job has not started: a picture, not a promise."""

    reason: str
    """`backing_off`, `quota`, `no_worker`, `too_large`, `machine_busy`, `behind` or `next`."""
    detail: str
    ahead: int | None
    """Jobs that will probably start before it; null where another reason holds it back."""
    starts_in: float | None
    """Seconds, estimated from recent jobs of the pool; null without a basis."""

    @classmethod
    def of(cls, why: Waiting) -> Self:
        """The view of a reason."""
        return cls(**why._asdict())


class JobView(View):
    """A job: what was asked, what it is, how far it is and what came of it."""

    id: int
    name: str
    tags: list[str]
    owner: str
    state: State
    wanted: Wanted
    """What its owner wants: a running job that is to be cancelled is still running until it has stopped."""
    spec: JobSpec
    fingerprint: str
    """Equal for jobs that must give equal results."""
    priority: int
    """Now; the spec holds that of the submission."""
    pool: str
    gpus: int
    parent: ParentView | None
    """For a fork or a retry: the job and the checkpoint that it goes on from."""
    waiting: WaitingView | None
    """Why it waits; null unless it is queued, and in a list of jobs."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    """When it will have failed if it has not ended by then."""
    step: int
    """Where the present or last attempt is."""
    total_steps: int
    result: Result | None
    """What came of a succeeded job, by its task. A list of jobs leaves out the `points`."""
    failure: Failure | None
    attempts: list[AttemptView]

    @classmethod
    def seen(cls, session: Session, job: Job) -> Self:
        """The view of a row as it is at this moment, with why it waits."""
        session.flush()
        return cls.of(job, why=waiting.why(session, job, settings()))

    @classmethod
    def of(cls, job: Job, *, why: Waiting | None = None, with_points: bool = True) -> Self:
        """The view of a row, whose owner and attempts are loaded."""
        spec = parse(job.spec)
        result = job.result if with_points else _without_points(job.result)
        return cls(
            id=job.id,
            name=job.name,
            tags=job.tags,
            owner=job.owner.name,
            state=job.state,
            wanted=job.wanted,
            spec=spec,
            fingerprint=job.fingerprint,
            priority=job.priority,
            pool=job.pool,
            gpus=job.gpus,
            parent=_parent(job),
            waiting=WaitingView.of(why) if why else None,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            deadline_at=job.deadline_at,
            step=job.attempts[-1].step if job.attempts else 0,
            total_steps=spec.total_steps,
            result=None if result is None else RESULT.validate_python(result),
            failure=Failure.model_validate(job.failure) if job.failure else None,
            attempts=[AttemptView.of(attempt) for attempt in job.attempts],
        )


class JobPage(View):
    """A page of jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


class EventView(View):
    """Something that happened to a job."""

    id: int
    at: datetime
    event: Event

    @classmethod
    def of(cls, row: EventRow) -> Self:
        """The view of a row."""
        return cls(id=row.id, at=row.at, event=EVENT.validate_python(row.event))


def _parent(job: Job) -> ParentView | None:
    if job.parent_id is None or job.parent_step is None:
        return None
    return ParentView(id=job.parent_id, step=job.parent_step)


def _without_points(result: dict[str, Any] | None) -> dict[str, Any] | None:
    return result | {"points": None} if result and "points" in result else result
