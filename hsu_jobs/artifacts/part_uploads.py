"""How does a large file arrive? In parts of one size, each with its checksum, in any order, again where it was cut off.

Data sets and the files of tracked runs arrive so. Knows parts and where they are stored; each kind of upload has a
table of its own for them, and its own states.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import StringConstraints
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.errors import BadRequest, Fault
from hsu_jobs.tables import DatasetPart, SavedFilePart

LARGEST = 2**37
"""Bytes of an upload."""
MOST_NAMED = 20
"""Missing parts that a message lists."""
UPLOADS = "uploads"
"""The folder of all uploads within the storage."""


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class Part(NamedTuple):
    """A part as it comes."""

    number: int
    """From 1 on."""
    content: bytes
    sha256: str
    """As its sender declares it."""


class Upload(NamedTuple):
    """An upload, and where its parts are kept."""

    bytes: int
    part_bytes: int
    """The size of each part but the last one."""
    folder: str
    """Of the parts' files."""
    table: type[DatasetPart | SavedFilePart]
    """Of the parts' rows."""
    owner: Mapping[str, int]
    """The column that says whose part a row is, and its value."""

    @property
    def part_count(self) -> int:
        """The parts that it has when it is complete."""
        return math.ceil(self.bytes / self.part_bytes)

    def part(self, number: int) -> str:
        """The file of a part."""
        return f"{self.folder}/{number}"

    @property
    def parts(self) -> list[str]:
        """The files of all parts, in order."""
        return [self.part(number) for number in range(1, self.part_count + 1)]


def check(upload: Upload, part: Part) -> None:
    """Raise `BadRequest` for a part that is not as declared."""
    if part.number > upload.part_count:
        raise BadRequest(f"the upload has {upload.part_count:,} parts, found number {part.number:,}")
    is_last = part.number == upload.part_count
    expected = upload.bytes - (upload.part_count - 1) * upload.part_bytes if is_last else upload.part_bytes
    if len(part.content) != expected:
        raise BadRequest(f"part {part.number} has {expected:,} bytes, found {len(part.content):,}")
    if (found := hashlib.sha256(part.content).hexdigest()) != part.sha256:
        detail = f"part {part.number} arrived with the SHA-256 {found}, expected {part.sha256}: send it again"
        raise BadRequest(detail, faults=(Fault(pointer="#query/sha256", code="wrong_checksum", detail=detail),))


def put(session: Session, storage: Storage, upload: Upload, part: Part) -> bool:
    """Store a part; returns False if the same part was there. Raises `StorageUnavailable`."""
    key = {**upload.owner, "number": part.number}
    table: type[Any] = upload.table
    there = session.get(table, key)
    if there is not None and there.sha256 == part.sha256:
        return False
    storage.store(upload.part(part.number), part.content)
    values = {"bytes": len(part.content), "sha256": part.sha256}
    added = insert(upload.table).values(**key, **values)
    session.execute(added.on_conflict_do_update(index_elements=list(key), set_=values))
    return True


def lacks(upload: Upload, arrived: Collection[int]) -> str | None:
    """Which parts have not arrived, in words; None if all have."""
    missing = [number for number in range(1, upload.part_count + 1) if number not in arrived]
    if not missing:
        return None
    more = ", …" if len(missing) > MOST_NAMED else ""
    named = ", ".join(map(str, missing[:MOST_NAMED]))
    return f"of {upload.part_count:,} parts {len(missing):,} have not arrived: {named}{more}"
