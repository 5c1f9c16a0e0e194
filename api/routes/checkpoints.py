"""Checkpoints: the saved states of a job, from which its forks continue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query

from api.dependencies.jobs import OwnedJob
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_jobs import queries
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized
from hsu_jobs.tables import CheckpointRow

router = APIRouter(prefix="/v1/jobs", tags=["checkpoints"])


class CheckpointView(View):
    """A saved state."""

    step: int
    attempt: int
    bytes: int
    sha256: str
    metric: float | None
    """The last value of the primary metric (of a classification, test_accuracy) up to this step."""
    is_best: bool
    """Whether no earlier checkpoint had a better metric."""
    created_at: datetime
    removed_at: datetime | None
    removed_because: str | None
    """`superseded` by newer ones, `damaged`, or `missing` from the storage."""

    @classmethod
    def of(cls, row: CheckpointRow) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class CheckpointsView(View):
    """A job's saved states, the newest first."""

    job: int
    checkpoints: list[CheckpointView]


@router.get("/{job_id}/checkpoints", responses=problems(BadRequest, Unauthorized, NotFound))
def list_checkpoints(
    job: OwnedJob,
    session: Session,
    removed: Annotated[bool, Query(description="Also those that are no longer there.")] = False,  # noqa: FBT002
) -> CheckpointsView:
    """The saved states from which a job, or a fork of it, can continue."""
    rows = session.execute(queries.checkpoints_of(job.id)).scalars()
    kept = [row for row in rows if removed or row.removed_at is None]
    return CheckpointsView(job=job.id, checkpoints=shown("list of checkpoints", kept, CheckpointView.of))
