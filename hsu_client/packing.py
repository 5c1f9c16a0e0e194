"""What is sent of a folder or a file? The same bytes each time, so that an upload can go on where it was cut off.

A folder becomes an uncompressed zip archive while it is read: nothing is written to the disk. Images are compressed
already.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PIECE = 2**20
"""Bytes that are read at once."""
Take = Callable[[bytes], None]


class Packed(NamedTuple):
    """What is going to be sent: a file or a folder, and that of the test part directly after it."""

    train: Path
    test: Path | None

    def read(self, take: Take) -> None:
        """Give all bytes, piece by piece."""
        _read(self.train, take)
        if self.test is not None:
            _read(self.test, take)

    def measure(self) -> Measured:
        """The size and the hash of what is going to be sent."""
        whole, sizes = hashlib.sha256(), []
        for path in (self.train, self.test):
            count = _Count()
            if path is not None:
                _read(path, count, also=whole.update)
            sizes.append(count.bytes)
        return Measured(sum(sizes), sizes[1], whole.hexdigest())


class Measured(NamedTuple):
    """The size and the hash of an upload."""

    bytes: int
    test_bytes: int
    sha256: str


def source_of(path: Path) -> str:
    """What a file or a folder is, by its name and the first line of a CSV file. Raises ValueError."""
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    match path.suffix.lower():
        case ".zip":
            return "folder"
        case ".npz":
            return "npz"
        case ".parquet":
            return "parquet"
        case ".csv":
            return "interactions" if "userId" in _columns(path) else "texts"
        case _:
            raise ValueError(f"{path}: expected a folder of images, or a .zip, .npz, .parquet or .csv file")


def _columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _read(path: Path, take: Take, *, also: Take | None = None) -> None:
    def both(content: bytes) -> None:
        take(content)
        if also is not None:
            also(content)

    if path.is_dir():
        _archive(path, both)
        return
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            both(piece)


def _archive(folder: Path, take: Take) -> None:
    with zipfile.ZipFile(_Sink(take), "w") as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if any(part.startswith(".") for part in name.parts):
                continue
            if path.is_dir():
                archive.writestr(zipfile.ZipInfo(f"{name.as_posix()}/"), b"")
                continue
            entry = zipfile.ZipInfo(name.as_posix())  # without the file's time: a copy gives the same bytes
            entry.file_size = path.stat().st_size
            with path.open("rb") as file, archive.open(entry, "w") as out:
                while piece := file.read(PIECE):
                    out.write(piece)


class _Sink(io.RawIOBase):
    """A file that gives on what is written into it."""

    def __init__(self, take: Take) -> None:
        super().__init__()
        self._take = take

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, content: object) -> int:
        """Give the bytes on."""
        given = bytes(content)  # type: ignore[call-overload]
        self._take(given)
        return len(given)


class _Count:
    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, content: bytes) -> None:
        self.bytes += len(content)
