"""Checkpoints: the saved states of a job, from which its forks continue, and which can be taken home."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Request, Response

from api.dependencies.auth import Viewer
from api.dependencies.jobs import OwnedJob
from api.dependencies.session import Session
from api.problems import problems
from api.streams.checkpoint_download import FileDownload
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import EXACT
from hsu_jobs import queries
from hsu_jobs.artifacts import checkpoint_files, checkpoints, installation
from hsu_jobs.artifacts.checkpoint_files import Part
from hsu_jobs.errors import BadRequest, Gone, NotFound, RangeNotSatisfiable, Unauthorized
from hsu_jobs.settings import settings
from hsu_jobs.tables import CheckpointRow

router = APIRouter(prefix="/v1/jobs", tags=["checkpoints"])

Step = Annotated[int, Path(ge=0, le=EXACT, description="The number of updates after which it was saved.")]
Wanted = Annotated[Part, Query(description="`weights`: without the state of optimizer and penalty, a third of it.")]


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


_TEXT = {"schema": {"type": "string"}}
_FILE: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        "ETag": {"description": "The sha256 of the whole file, in quotes: check what you have against it.", **_TEXT},
        "Accept-Ranges": {"description": "`bytes`: a download that broke off can go on.", **_TEXT},
        "Content-Disposition": {"description": "A name for the file.", **_TEXT},
    },
}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A safetensors file: tensors, and their description as JSON, nothing else.", **_FILE},
    206: {
        **_FILE,
        "description": "The bytes that `Range` asks for.",
        "headers": {**_FILE["headers"], "Content-Range": {"description": "Which bytes these are.", **_TEXT}},
    },
    304: {"description": "`If-None-Match` holds the `ETag` of the file"},
}
REFUSALS = problems(BadRequest, Unauthorized, NotFound, Gone, RangeNotSatisfiable)


@router.head("/{job_id}/checkpoints/{step}", response_class=Response, responses=FILE | REFUSALS)
def look_at_checkpoint(
    request: Request, job: OwnedJob, key: Viewer, session: Session, step: Step, part: Wanted = Part.ALL
) -> Response:
    """The head of a checkpoint's file: its size and its hash."""
    return download_checkpoint(request, job, key, session, step, part)


@router.get("/{job_id}/checkpoints/{step}", response_class=Response, responses=FILE | REFUSALS)
def download_checkpoint(
    request: Request, job: OwnedJob, key: Viewer, session: Session, step: Step, part: Wanted = Part.ALL
) -> Response:
    """The file of a checkpoint, or the weights in it alone; `hsu_core.load` makes a network of either.

    The file is compared with its stored hash before it is sent. `Range` with `If-Range` continues a download.
    """
    row = checkpoints.at(session, job, step)
    kept = checkpoint_files.checkpoint(row)
    return FileDownload(request, key, installation.storage(session, settings()), kept, part)
