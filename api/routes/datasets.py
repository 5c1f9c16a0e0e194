"""Data sets that users bring: upload one in parts, look at it, delete it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query, Response
from sqlalchemy import orm

from api.dependencies.auth import Member, Viewer
from api.dependencies.datasets import OwnVersion, SeenVersion, SeenVersions
from api.dependencies.session import Session
from api.dependencies.upload_part import DOCUMENTED, PartContent
from api.problems import Responses, problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import EXACT
from hsu_jobs import database, doorbell
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.part_uploads import Sha256
from hsu_jobs.datasets import uploads, versions
from hsu_jobs.datasets.uploads import DatasetChange, NewDataset
from hsu_jobs.errors import (
    BadRequest,
    DatasetInUse,
    Forbidden,
    Gone,
    NotFound,
    QuotaExceeded,
    SpecRejected,
    Unauthorized,
    Unavailable,
    WrongDatasetState,
)
from hsu_jobs.settings import settings
from hsu_jobs.tables import DatasetRow, DatasetState

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

_ALWAYS = (BadRequest, Unauthorized, NotFound)
_CHANGING = (*_ALWAYS, Forbidden)


class DatasetView(View):
    """A version of a data set."""

    name: str
    version: int
    owner: str
    shared: bool
    """Whether all users may use it."""
    licence: str
    source: str
    options: dict[str, Any]
    state: DatasetState | str
    reason: str | None
    """Why it was refused: the name of the file, and what was wrong with it."""
    sha256: str | None
    """Of the converted content: equal content has the same. Null until it is converted."""
    bytes: int
    """Of the converted content, or until then of the upload."""
    facts: dict[str, Any] | None
    """What it holds: of images `shape`, `mean`, `class_names`, `train_counts`, `test_counts`; of texts the classes; of
    interactions `users`, `items`, `train`, `test`. Null until it is converted."""
    created_at: datetime

    @classmethod
    def of(cls, row: DatasetRow) -> Self:
        """The view of a row."""
        fields = {name: getattr(row, name) for name in cls.model_fields if name not in ("owner", "bytes", "facts")}
        is_ready = row.state is DatasetState.READY
        size = row.upload_bytes if row.bytes is None else row.bytes
        return cls(**fields, owner=row.owner.name, bytes=size, facts=row.facts if is_ready else None)


class PartView(View):
    """A part that has arrived."""

    number: int
    sha256: str


class UploadView(DatasetView):
    """A version, and how far its upload is."""

    part_bytes: int
    """The size of each part but the last one."""
    parts: int
    """How many there are in all."""
    arrived: list[PartView]
    """Those that have arrived, until it is converted."""

    @classmethod
    def seen(cls, session: orm.Session, row: DatasetRow) -> Self:
        """The view of a row and of its parts."""
        arrived = [
            PartView(number=part.number, sha256=part.sha256)
            for part in session.execute(versions.parts_of(row)).scalars()
        ]
        whole = DatasetView.of(row).model_dump()
        return cls(**whole, part_bytes=row.part_bytes, parts=versions.upload_of(row).part_count, arrived=arrived)


class DatasetPage(View):
    """A page of versions, the newest first."""

    datasets: list[DatasetView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


class VersionsView(View):
    """The versions of one data set, the newest first."""

    versions: list[DatasetView]


THERE: Responses = {200: {"model": UploadView, "description": "The same data are there already, or are on their way"}}


@router.post(
    "",
    status_code=201,
    responses=THERE | problems(BadRequest, Unauthorized, Forbidden, QuotaExceeded, SpecRejected),
)
def begin_upload(new: NewDataset, key: Member, session: Session, response: Response) -> UploadView:
    """Begin to upload a data set, as a new version of its name.

    Then send its parts, and at last `complete`. To send the same data again continues the upload where it was cut off:
    `arrived` says which parts are there.
    """
    row, is_new = uploads.begin(session, key.user, new, settings())
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"{router.prefix}/{row.name}/versions/{row.version}"
    return UploadView.seen(session, row)


@router.get("", responses=problems(BadRequest, Unauthorized))
def list_datasets(
    key: Viewer,
    session: Session,
    cursor: Annotated[int | None, Query(ge=1, le=EXACT, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DatasetPage:
    """Your data sets and those that others share, each version, the newest first; all users' for an admin."""
    chosen = versions.visible_to(key).where(DatasetRow.state != DatasetState.DELETED).order_by(DatasetRow.id.desc())
    chosen = chosen if cursor is None else chosen.where(DatasetRow.id < cursor)
    rows = session.execute(chosen.limit(limit + 1)).scalars().all()
    next_cursor = str(rows[limit - 1].id) if len(rows) > limit else None
    return DatasetPage(datasets=shown("list of data sets", rows[:limit], DatasetView.of), next_cursor=next_cursor)


@router.get("/{name}", responses=problems(*_ALWAYS))
def show_dataset(rows: SeenVersions) -> VersionsView:
    """The versions of a data set, also those that were deleted."""
    return VersionsView(versions=shown("versions of a data set", rows, DatasetView.of))


@router.get("/{name}/versions/{version}", responses=problems(*_ALWAYS))
def show_version(row: SeenVersion, session: Session) -> UploadView:
    """A version: its facts, or how far its upload is."""
    return UploadView.seen(session, row)


@router.patch("/{name}/versions/{version}", responses=problems(*_CHANGING, Gone, SpecRejected))
def change_version(row: OwnVersion, change: DatasetChange, session: Session) -> UploadView:
    """Change the licence note of a version, or whether all users may use it. The data never change.

    Jobs that others have submitted keep a version that is no longer shared.
    """
    return UploadView.seen(session, versions.change(session, row, licence=change.licence, shared=change.shared))


@router.put(
    "/{name}/versions/{version}/parts/{number}",
    status_code=204,
    responses=problems(*_CHANGING, WrongDatasetState, Unavailable),
    openapi_extra=DOCUMENTED,
)
def put_part(
    content: PartContent,
    row: OwnVersion,
    session: Session,
    number: Annotated[int, Path(ge=1, le=2**31 - 1, description="From 1 on.")],
    sha256: Annotated[Sha256, Query(description="Of these bytes.")],
) -> None:
    """Send one part of an upload: `part_bytes` bytes, of the last one the rest. The order does not matter.

    The same part may be sent again.
    """
    storage = installation.storage(session, settings())
    try:
        uploads.put(session, row, storage, number=number, content=content, sha256=sha256)
    except OSError as error:
        raise Unavailable(f"the part cannot be stored just now: {error}") from error


@router.post(
    "/{name}/versions/{version}/complete",
    status_code=202,
    responses=problems(*_CHANGING, WrongDatasetState),
)
def complete_upload(row: OwnVersion, session: Session) -> UploadView:
    """Let a worker convert the upload, of which all parts have arrived. Then its state is `ready`, or `refused`."""
    complete = uploads.complete(session, row)
    dataset_id = complete.id
    database.after_commit(session, lambda: doorbell.ring_for_dataset(dataset_id))
    return UploadView.seen(session, complete)


@router.delete("/{name}/versions/{version}", status_code=204, responses=problems(*_CHANGING, Gone, DatasetInUse))
def delete_version(row: OwnVersion, session: Session) -> None:
    """Delete a version, unless jobs that have not ended use it. Its number is never used again."""
    versions.delete(session, row)
