"""Files that tracked runs save: send one in parts, look at them, download and delete them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import orm

from api.dependencies.auth import Member, Viewer
from api.dependencies.jobs import OwnedJob
from api.dependencies.joined_file import FileId, Joined, Token
from api.dependencies.session import Session
from api.dependencies.upload_part import DOCUMENTED, PartContent
from api.problems import Responses, problems
from api.routes.checkpoints import FILE, REFUSALS
from api.streams.checkpoint_download import FileDownload
from api.views.each_row import shown
from api.views.jobs import View
from hsu_jobs import run_files
from hsu_jobs.artifacts import checkpoint_files, installation
from hsu_jobs.artifacts.checkpoint_files import Part
from hsu_jobs.artifacts.part_uploads import Part as UploadPart
from hsu_jobs.artifacts.part_uploads import Sha256
from hsu_jobs.errors import (
    AttemptEnded,
    BadRequest,
    FileRefused,
    Forbidden,
    Gone,
    NotFound,
    QuotaExceeded,
    SpecRejected,
    StateInUse,
    Unauthorized,
    Unavailable,
    WrongFileState,
)
from hsu_jobs.run_files import FileName, NewFile
from hsu_jobs.settings import settings
from hsu_jobs.tables import FileState, SavedFile

router = APIRouter(prefix="/v1", tags=["runs"])

Name = Annotated[FileName, Path(description="Its name, with the folders in it.")]
_CHANGING = (BadRequest, Unauthorized, Forbidden, NotFound)


class FileView(View):
    """A file that a run has saved."""

    name: str
    step: int | None
    """Of a saved state, which is a checkpoint of the job too: the step from which the loop goes on with it."""
    attempt: int
    bytes: int
    sha256: str
    created_at: datetime

    @classmethod
    def of(cls, row: SavedFile) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class FilesView(View):
    """A run's files, by name."""

    job: int
    files: list[FileView]


class FilePartView(View):
    """A part that has arrived."""

    number: int
    sha256: str


class FileUploadView(FileView):
    """A file, and how far its upload is."""

    id: int
    state: FileState | str
    part_bytes: int
    """The size of each part but the last one."""
    parts: int
    """How many there are in all."""
    arrived: list[FilePartView]
    """Those that have arrived, until it is ready."""

    @classmethod
    def seen(cls, session: orm.Session, row: SavedFile) -> Self:
        """The view of a row and of its parts."""
        there = run_files.arrived(session, row) if row.state is FileState.UPLOADING else ()
        arrived = [FilePartView(number=part.number, sha256=part.sha256) for part in there]
        own = {
            "id": row.id,
            "state": row.state,
            "part_bytes": row.part_bytes,
            "parts": run_files.upload_of(row).part_count,
        }
        return cls(**FileView.of(row).model_dump(), **own, arrived=arrived)


THERE: Responses = {200: {"model": FileUploadView, "description": "The same file is there already, or is on its way"}}


@router.post(
    "/runs/{job_id}/files",
    status_code=201,
    responses=THERE | problems(*_CHANGING, AttemptEnded, QuotaExceeded, SpecRejected),
)
def begin_file(
    job: OwnedJob, new: NewFile, token: Token, _key: Member, session: Session, response: Response
) -> FileUploadView:
    """Begin to save a file. Then send its parts, and at last `complete`.

    To begin the same file again continues its upload where it was cut off: `arrived` says which parts are there.
    """
    row, is_new = run_files.begin(session, job.id, token, new, settings())
    response.status_code = 201 if is_new else 200
    return FileUploadView.seen(session, row)


@router.put(
    "/runs/{job_id}/files/{file_id}/parts/{number}",
    status_code=204,
    responses=problems(*_CHANGING, AttemptEnded, WrongFileState, SpecRejected, Unavailable),
    openapi_extra=DOCUMENTED,
)
def put_file_part(
    content: PartContent,
    job: OwnedJob,
    file_id: FileId,
    number: Annotated[int, Path(ge=1, le=2**31 - 1, description="From 1 on.")],
    sha256: Annotated[Sha256, Query(description="Of these bytes.")],
    token: Token,
    _key: Member,
    session: Session,
) -> None:
    """Send one part of a file: `part_bytes` bytes, of the last one the rest. The order does not matter."""
    storage = installation.storage(session, settings())
    try:
        run_files.put(session, job.id, token, file_id, storage, UploadPart(number, content, sha256))
    except OSError as error:
        raise Unavailable(f"the part cannot be stored just now: {error}") from error


@router.post(
    "/runs/{job_id}/files/{file_id}/complete",
    responses=problems(*_CHANGING, AttemptEnded, WrongFileState, FileRefused, SpecRejected, Unavailable),
)
def complete_file(
    _joined: Joined,
    job: OwnedJob,
    file_id: FileId,
    token: Token,
    _key: Member,
    session: Session,
    keep: Annotated[
        int | None, Query(ge=1, le=1000, description="How many of the run's states stay, the newest; all by default.")
    ] = None,
) -> FileUploadView:
    """Finish a file, of which all parts have arrived: they are put together and compared with the hash of the whole.

    It takes the place of an older one of its name; a state is a checkpoint of the job from now on.
    """
    return FileUploadView.seen(session, run_files.complete(session, job.id, token, file_id, keep=keep))


@router.get("/jobs/{job_id}/files", responses=problems(BadRequest, Unauthorized, NotFound))
def list_files(job: OwnedJob, session: Session) -> FilesView:
    """The files that a tracked run has saved, its states among them."""
    return FilesView(job=job.id, files=shown("list of files", run_files.of_job(session, job.id), FileView.of))


@router.head("/jobs/{job_id}/files/{name:path}", response_class=Response, responses=FILE | REFUSALS)
def look_at_file(request: Request, job: OwnedJob, key: Viewer, session: Session, name: Name) -> Response:
    """The head of a file: its size and its hash."""
    return download_file(request, job, key, session, name)


@router.get("/jobs/{job_id}/files/{name:path}", response_class=Response, responses=FILE | REFUSALS)
def download_file(request: Request, job: OwnedJob, key: Viewer, session: Session, name: Name) -> Response:
    """A file that a run has saved, as it was; `Range` with `If-Range` continues a download."""
    kept = checkpoint_files.saved_file(run_files.of_name(session, job.id, name))
    return FileDownload(request, key, installation.storage(session, settings()), kept, Part.ALL)


@router.delete("/jobs/{job_id}/files/{name:path}", status_code=204, responses=problems(*_CHANGING, StateInUse, Gone))
def delete_file(job: OwnedJob, _key: Member, session: Session, name: Name) -> None:
    """Delete a file, unless jobs that have not ended start from it. A deleted state is no checkpoint any more."""
    run_files.remove(session, job.id, name)
