"""What do answers look like? The shapes that leave the service; NaN and infinities leave as strings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from hsu_jobs.curves import Curve, Origin
from hsu_jobs.outcomes import RESULT, Failure, Result
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import Attempt, Job


class View(BaseModel):
    """A shape that leaves the service."""

    model_config = ConfigDict(ser_json_inf_nan="strings", use_attribute_docstrings=True)


class AttemptView(View):
    """One try at a job."""

    number: int
    worker: str
    device: str
    started_at: datetime
    ended_at: datetime | None
    step: int
    """The last step that it told of."""
    outcome: dict[str, Any] | None
    """How it ended: its `kind` is succeeded, cancelled, released, failed, crashed or lost."""

    @classmethod
    def of(cls, attempt: Attempt) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(attempt, name) for name in cls.model_fields})


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
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    step: int
    """Where the present or last attempt is."""
    total_steps: int
    result: Result | None
    """What came of a succeeded job, by its task. A list of jobs leaves out the `points`."""
    failure: Failure | None
    attempts: list[AttemptView]

    @classmethod
    def of(cls, job: Job, *, with_points: bool = True) -> Self:
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
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
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


class CurveView(View):
    """One measured quantity over steps."""

    layer: str | None
    """Null for what is measured of the whole model."""
    measure: str
    random: float | None
    """What n independent, uniformly random points in d dimensions would have, for a layer of n neurons with d inputs:
    the expectation, or the median where that is infinite. The same at every step; null where there is none."""
    optimum: float | None
    """What the best n points in d dimensions have, where that is proven; else null."""
    steps: list[int]
    values: list[float]

    @classmethod
    def of(cls, curve: Curve) -> Self:
        """The view of a curve."""
        return cls(
            layer=curve.layer,
            measure=curve.measure,
            **curve.reference._asdict(),
            steps=curve.steps.tolist(),
            values=curve.values.tolist(),
        )


class CurvesView(View):
    """A job's curves."""

    job: int
    relative_to: Origin | None
    """The reference that was subtracted from `values`, `random` and `optimum`; null if they are as measured."""
    curves: list[CurveView]


def _without_points(result: dict[str, Any] | None) -> dict[str, Any] | None:
    return result | {"points": None} if result and "points" in result else result
