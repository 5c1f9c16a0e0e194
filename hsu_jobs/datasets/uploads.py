"""How does a data set arrive? In parts of one size, each with its checksum, in any order, again where it was cut off.

What is sent is one file, or two: then the file of the test part comes directly after that of the training part. The
same data under the same name continue the upload, or name the version, that is there already.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_core.data.own.sources import Options, Source
from hsu_core.spec import DatasetName
from hsu_core.spec.values import WHOLE, Flag, fault
from hsu_jobs import queries
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.datasets import storing, versions
from hsu_jobs.errors import BadRequest, Fault, QuotaExceeded, WrongDatasetState
from hsu_jobs.settings import Settings
from hsu_jobs.tables import DatasetPart, DatasetRow, DatasetState, User

LARGEST = 2**37
"""Bytes of an upload."""
MOST_NAMED = 20
"""Missing parts that a message lists."""
_KEPT = (DatasetState.UPLOADING, DatasetState.CONVERTING, DatasetState.READY)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
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
    _check_part(row, number, content, sha256)
    dataset = versions.locked(session, row)
    if dataset.state is not DatasetState.UPLOADING:
        raise WrongDatasetState(f"version {row.version} of {row.name} is {dataset.state}: it takes no more parts")
    there = session.get(DatasetPart, (dataset.id, number))
    if there is not None and there.sha256 == sha256:
        return
    storage.store(storing.part(dataset.id, number), content)
    values = {"bytes": len(content), "sha256": sha256}
    added = insert(DatasetPart).values(dataset_id=dataset.id, number=number, **values)
    session.execute(added.on_conflict_do_update(index_elements=["dataset_id", "number"], set_=values))
    dataset.changed_at = func.now()


def complete(session: Session, row: DatasetRow) -> DatasetRow:
    """Let a worker convert the upload, of which all parts have arrived. Raises `WrongDatasetState`."""
    dataset = versions.locked(session, row)
    if dataset.state in (DatasetState.CONVERTING, DatasetState.READY):
        return dataset
    if dataset.state is not DatasetState.UPLOADING:
        raise WrongDatasetState(f"version {dataset.version} of {dataset.name} is {dataset.state}: upload a new one")
    arrived = {part.number for part in session.execute(versions.parts_of(dataset)).scalars()}
    missing = [number for number in range(1, versions.part_count(dataset) + 1) if number not in arrived]
    if missing:
        more = ", …" if len(missing) > MOST_NAMED else ""
        raise WrongDatasetState(
            f"of {versions.part_count(dataset):,} parts {len(missing):,} have not arrived: "
            f"{', '.join(map(str, missing[:MOST_NAMED]))}{more}"
        )
    dataset.state, dataset.changed_at = DatasetState.CONVERTING, func.now()
    return dataset


def _check_part(row: DatasetRow, number: int, content: bytes, sha256: str) -> None:
    count = versions.part_count(row)
    if number > count:
        raise BadRequest(f"the upload has {count:,} parts, found number {number:,}")
    expected = row.part_bytes if number < count else row.upload_bytes - (count - 1) * row.part_bytes
    if len(content) != expected:
        raise BadRequest(f"part {number} has {expected:,} bytes, found {len(content):,}")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        detail = f"part {number} arrived with the SHA-256 {found}, expected {sha256}: send it again"
        raise BadRequest(detail, faults=(Fault(pointer="#query/sha256", code="wrong_checksum", detail=detail),))


def _is_same(row: DatasetRow, new: NewDataset) -> bool:
    data = (row.upload_sha256, row.upload_bytes, row.test_bytes, row.source)
    return (
        row.state in _KEPT
        and data == (new.sha256, new.bytes, new.test_bytes, new.source)
        and (row.options == new.options.model_dump(mode="json"))
    )
