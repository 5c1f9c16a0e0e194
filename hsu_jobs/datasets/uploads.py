"""How does a data set arrive? In parts of one size, each with its checksum, in any order, again where it was cut off.

What is sent is one file, or two: then the file of the test part comes directly after that of the training part. The
same data under the same name continue the upload, or name the version, that is there already.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_core.data.own.sources import Options, Source
from hsu_core.spec import DatasetName
from hsu_core.spec.values import WHOLE, Flag, fault
from hsu_jobs import queries
from hsu_jobs.artifacts import part_uploads
from hsu_jobs.artifacts.part_uploads import LARGEST, Part, Sha256
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.datasets import versions
from hsu_jobs.errors import QuotaExceeded, WrongDatasetState
from hsu_jobs.settings import Settings
from hsu_jobs.tables import DatasetRow, DatasetState, User

_KEPT = (DatasetState.UPLOADING, DatasetState.CONVERTING, DatasetState.READY)

Licence = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1000)]


class NewDataset(BaseModel):
    """What is going to be uploaded."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"name": "flowers", "source": "folder", "bytes": 1048576, "sha256": "ab" * 32}]
        },
    )

    name: DatasetName
    source: Source
    """`folder`: a zip archive of PNG, JPEG or WebP images, a folder for each class. `npz`: the arrays `x` (uint8) and
    `y`. `parquet`: the columns `image` and `label`, as Hugging Face writes them. `texts`: CSV with `text,category`.
    `interactions`: CSV with `userId,movieId,rating,timestamp`."""
    bytes: Annotated[int, Field(ge=1, le=LARGEST), WHOLE]
    """The size of the upload: of the file, or of both."""
    test_bytes: Annotated[int, Field(ge=0, le=LARGEST), WHOLE] = 0
    """How many of these are the file of the test part, which then comes directly after the other one."""
    sha256: Sha256
    """Of the whole upload."""
    options: Options = Options()
    licence: Licence = ""
    """A note for those who use it."""
    shared: Flag = False
    """Whether all users may use it."""

    @model_validator(mode="after")
    def _has_something_to_train_on(self) -> NewDataset:
        if self.test_bytes >= self.bytes:
            raise fault(
                "test_bytes",
                "no_training_part",
                f"expected fewer than the {self.bytes:,} bytes of both files, found {self.test_bytes:,}",
            )
        return self


class DatasetChange(BaseModel):
    """What is to be changed of a version; omitted fields, and nulls, stay."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"shared": True}]}
    )

    licence: Licence | None = None
    """A note for those who use it."""
    shared: Flag | None = None
    """Whether all users may use it."""


class Begun(NamedTuple):
    """An upload."""

    row: DatasetRow
    is_new: bool


def begin(session: Session, owner: User, new: NewDataset, settings: Settings) -> Begun:
    """Begin a version, or find the one that has the same data. Raises `QuotaExceeded`."""
    session.execute(queries.hold(f"data sets of {owner.id}"))
    of_name = select(DatasetRow).where(DatasetRow.owner_id == owner.id, DatasetRow.name == new.name)
    before = list(session.execute(of_name.order_by(DatasetRow.version.desc())).scalars())
    if same := next((row for row in before if _is_same(row, new)), None):
        return Begun(versions.locked(session, same), is_new=False)
    taken = versions.taken_bytes(session, owner.id)
    if taken + new.bytes > settings.dataset_bytes:
        raise QuotaExceeded(
            f"the data sets of {owner.name} may take {settings.dataset_bytes:,} bytes, take {taken:,}, and this one "
            f"has {new.bytes:,}: delete some, or let an admin raise HSU_DATASET_BYTES"
        )
    row = DatasetRow(
        owner_id=owner.id,
        name=new.name,
        version=before[0].version + 1 if before else 1,
        shared=new.shared,
        licence=new.licence,
        source=new.source,
        options=new.options.model_dump(mode="json"),
        upload_bytes=new.bytes,
        test_bytes=new.test_bytes,
        part_bytes=settings.part_bytes,
        upload_sha256=new.sha256,
    )
    session.add(row)
    session.flush()
    return Begun(versions.locked(session, row), is_new=True)


def put(session: Session, row: DatasetRow, storage: Storage, *, number: int, content: bytes, sha256: str) -> None:
    """Store a part; the same part again changes nothing.

    Raises `WrongDatasetState`, `BadRequest` for a part that is not as declared, and `StorageUnavailable`.
    """
    part = Part(number, content, sha256)
    part_uploads.check(versions.upload_of(row), part)
    dataset = versions.locked(session, row)
    if dataset.state is not DatasetState.UPLOADING:
        raise WrongDatasetState(f"version {row.version} of {row.name} is {dataset.state}: it takes no more parts")
    if part_uploads.put(session, storage, versions.upload_of(dataset), part):
        dataset.changed_at = func.now()


def complete(session: Session, row: DatasetRow) -> DatasetRow:
    """Let a worker convert the upload, of which all parts have arrived. Raises `WrongDatasetState`."""
    dataset = versions.locked(session, row)
    if dataset.state in (DatasetState.CONVERTING, DatasetState.READY):
        return dataset
    if dataset.state is not DatasetState.UPLOADING:
        raise WrongDatasetState(f"version {dataset.version} of {dataset.name} is {dataset.state}: upload a new one")
    arrived = {part.number for part in session.execute(versions.parts_of(dataset)).scalars()}
    if lacks := part_uploads.lacks(versions.upload_of(dataset), arrived):
        raise WrongDatasetState(lacks)
    dataset.state, dataset.changed_at = DatasetState.CONVERTING, func.now()
    return dataset


def _is_same(row: DatasetRow, new: NewDataset) -> bool:
    data = (row.upload_sha256, row.upload_bytes, row.test_bytes, row.source)
    return (
        row.state in _KEPT
        and data == (new.sha256, new.bytes, new.test_bytes, new.source)
        and (row.options == new.options.model_dump(mode="json"))
    )
