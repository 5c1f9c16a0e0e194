"""What do answers look like? The schemas of what the service sends; NaN and infinities are strings."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Response
from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema, create_model
from sqlalchemy.orm import Session

from hsu_jobs.cluster import waiting
from hsu_jobs.cluster.waiting import Waiting
from hsu_jobs.errors import SpecNotReadable
from hsu_jobs.events import Event, StrangeEvent, read_event
from hsu_jobs.lifecycle import Queued
from hsu_jobs.outcomes import Failure, failure_of
from hsu_jobs.results import RESULT, Result
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec, TrackedJob, read_any
from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables import Attempt, EventRow, Job

Real = Annotated[
    float,
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]},
        mode="serialization",
    ),
]
"""A measured number; NaN and infinities, which JSON lacks, are strings."""


class View(BaseModel):
    """The schema of an answer, or of a part of one."""

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
    """The step of the checkpoint from which it resumed; null if it began at the beginning."""
    step: int
    """The last step that it reported."""
    progress_at: datetime | None
    """When it last reported a further step."""
    stop: Stop | str | None
    """Why the service asked it to stop: `preempt`, `drain`, `deadline`, or a reason of a newer version."""
    outcome: dict[str, Any] | None
    """How it ended: its `kind` is succeeded, cancelled, paused, preempted, released, overdue, failed, crashed, stalled,
    faulty, file_missing, unavailable or lost."""

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The view of a row."""
        values = {name: getattr(attempt, name) for name in cls.model_fields}
        outcome = None if attempt.outcome is None else _as_stored(attempt.outcome)
        return cls(**values | {"outcome": outcome})


class ParentView(View):
    """The checkpoint from which a job continues."""

    id: int
    step: int
    """The step of the checkpoint; the job's own curves begin there."""


class WaitingView(View):
    """Why a queued job has not started: a snapshot, not a promise."""

    reason: str
    """`spec_not_readable`, `backing_off`, `quota`, `no_worker`, `workers_lack_storage`, `no_worker_with_dataset`,
    `no_worker_with_plugins`, `too_large`, `machine_busy`, `behind` or `next`."""
    detail: str
    ahead: int | None
    """Jobs that will probably start before it; null if it waits for another reason."""
    starts_in: float | None
    """Seconds, estimated from recent jobs of the pool; null if that is not possible."""

    @classmethod
    def of(cls, why: Waiting) -> Self:
        """The view of a reason."""
        return cls(**why._asdict())


class JobView(View):
    """A job: its spec, state, progress and result."""

    id: int
    name: str
    tags: list[str]
    owner: str
    state: State | str
    """`queued`, `running`, `paused`, `lost`, `succeeded`, `failed`, `cancelled`, or a state of a newer version."""
    wanted: Wanted | str
    """What its owner wants: a running job that is to be cancelled is still running until it has stopped."""
    spec: JobSpec | TrackedJob | dict[str, Any]
    """As it is stored, if this version cannot read it: `spec_error` then says why."""
    spec_error: str | None = None
    """Why this version of the service cannot read the spec: a newer version wrote it, or a plug-in is gone. Such a job
    is left to workers that can read it; here it can be cancelled. Null if the spec is readable."""
    fingerprint: str
    """Equal for jobs that must give equal results."""
    priority: int
    """The present one; the spec holds that of the submission."""
    pool: str
    gpus: int
    parent: ParentView | None
    """For a fork or a retry: the job and the checkpoint from which it continues."""
    waiting: WaitingView | None
    """Why it waits; null if it is not queued, in a list of jobs, and in the answer to a submission."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    """The time at which it fails if it has not ended by then."""
    step: int
    """The step of the present or last attempt."""
    total_steps: int | None
    """Null if this version cannot read the spec; 0 for a tracked run, of which only its loop knows."""
    result: Result | dict[str, Any] | None
    """The result of a succeeded job, by its task. A list of jobs leaves out the `points`. A result of another version
    that this one does not know is shown as it is stored."""
    failure: Failure | None
    attempts: list[AttemptView]
    """The last ones, 20 at most; the job's events show all."""
    attempt_count: int = 0
    """How many there were in all."""

    @classmethod
    def seen(cls, session: Session, job: Job) -> Self:
        """The view of a row as it is now, with the reason why it waits."""
        session.flush()
        return cls.of(job, why=waiting.why(session, job, settings()))

    @classmethod
    def of(cls, job: Job, *, why: Waiting | None = None, with_points: bool = True) -> Self:
        """The view of a row, whose owner and attempts are loaded."""
        spec, error = _spec(job)
        result = job.result if with_points else _without_points(job.result)
        return cls(
            id=job.id,
            name=job.name,
            tags=job.tags,
            owner=job.owner.name,
            state=job.state,
            wanted=job.wanted,
            spec=spec,
            spec_error=error,
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
            total_steps=None if isinstance(spec, dict) else spec.total_steps,
            result=_result(result),
            failure=failure_of(job.failure),
            attempts=[AttemptView.of(attempt) for attempt in job.attempts],
            attempt_count=job.attempts[-1].number if job.attempts else 0,
        )


class SubmittedView(JobView):
    """A job that has just been queued."""

    duplicates: list[int] = []
    """The newest jobs with the same fingerprint, which give an equal result: yours, or all users' for an admin; ten at
    most."""

    @classmethod
    def just(cls, queued: Queued, spec: JobSpec, *, owner: str) -> SubmittedView:
        """The view of a job that has just been queued. Nothing is validated again: its parts are valid."""
        return cls.model_construct(
            id=queued.id,
            name=spec.name,
            tags=list(spec.tags),
            owner=owner,
            state=State.QUEUED,
            wanted=Wanted.RUN,
            spec=spec,
            spec_error=None,
            fingerprint=spec.fingerprint,
            priority=spec.priority,
            pool=spec.resources.pool,
            gpus=spec.resources.gpus,
            parent=None,
            waiting=None,
            created_at=queued.created_at,
            started_at=None,
            finished_at=None,
            deadline_at=queued.deadline_at,
            step=0,
            total_steps=spec.total_steps,
            result=None,
            failure=None,
            attempts=[],
            attempt_count=0,
            duplicates=queued.duplicates,
        )


class JobPage(View):
    """A page of jobs."""

    jobs: list[JobView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""

    def only(self, fields: Set[str] | None) -> Response:
        """The response that holds only these fields of each job; all of them for None."""
        chosen = None if fields is None else {"jobs": {"__all__": set(fields)}, "next_cursor": True}
        return rendered(self, include=chosen)


def _or_null(kind: Any) -> Any:
    return kind | None


_NULLABLE: dict[str, Any] = {name: (_or_null(field.annotation), None) for name, field in JobView.model_fields.items()}
JobPart = create_model("JobPart", __base__=View, __doc__="Those fields of a job that were asked for.", **_NULLABLE)
JobPartPage = create_model(
    "JobPartPage",
    __base__=View,
    __doc__="A page of jobs, with those fields of each that were asked for.",
    jobs=(list[JobPart], ...),
    next_cursor=(str | None, ...),
)


class EventView(View):
    """Something that happened to a job."""

    id: int
    at: datetime
    event: Event | StrangeEvent

    @classmethod
    def of(cls, row: EventRow) -> Self:
        """The view of a row."""
        return cls(id=row.id, at=row.at, event=read_event(row.event))


def rendered(
    view: BaseModel,
    *,
    include: Any = None,
    status: int = 200,
    location: str | None = None,
    tag: str | None = None,
) -> Response:
    """The response with a view, or what `include` chooses of it: ready, so that FastAPI does not validate it again."""
    headers = {"Location": location, "ETag": tag}
    given = {name: value for name, value in headers.items() if value is not None}
    return Response(view.model_dump_json(include=include), status, given, media_type="application/json")


def created(job: JobView) -> Response:
    """The response for a new job."""
    return rendered(job, status=201, location=f"/v1/jobs/{job.id}")


def _parent(job: Job) -> ParentView | None:
    if job.parent_id is None or job.parent_step is None:
        return None
    return ParentView(id=job.parent_id, step=job.parent_step)


def _spec(job: Job) -> tuple[JobSpec | TrackedJob | dict[str, Any], str | None]:
    """A job's spec; if this version cannot read it, the stored one, and the reason."""
    try:
        return read_any(job.spec, plugins=job.plugins), None
    except SpecNotReadable as error:
        return _as_stored(job.spec), error.detail


def _as_stored(value: Any) -> dict[str, Any]:
    """A value that this version does not know, as an object, whatever it was."""
    return value if isinstance(value, dict) else {"stored": value}


def _result(stored: Any) -> Result | dict[str, Any] | None:
    """A job's result; as it is stored if this version does not know results of its kind."""
    if stored is None:
        return None
    try:
        return RESULT.validate_python(stored)
    except ValidationError:
        return _as_stored(stored)


def _without_points(result: dict[str, Any] | None) -> dict[str, Any] | None:
    return result | {"points": None} if isinstance(result, dict) and "points" in result else result
