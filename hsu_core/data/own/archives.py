"""Which files does a zip archive hold? Only names and sizes that can be trusted: nothing is unpacked to a place.

An entry that would leave its folder is refused by its name, as is a link, an encrypted one, and one that is larger than
it says.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hsu_core.data.own.refusal import Refused

MOST_FILES = 5_000_000
LARGEST_FILE = 2**27
"""Bytes of one image as a file."""
_WITHOUT_MEANING = ("__MACOSX", "Thumbs.db", "desktop.ini")


class Archive:
    """An open archive."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise Refused(f"{path.name}: expected a zip archive, found: {error}") from error

    def names(self) -> Iterator[str]:
        """The names of the files, and of the folders with a slash at their end, but hidden ones. Raises Refused."""
        entries = self._zip.infolist()
        if len(entries) > MOST_FILES:
            raise Refused(f"expected {MOST_FILES:,} files at most, found {len(entries):,}")
        seen: set[str] = set()
        for entry in entries:
            _check(entry)
            if entry.filename in seen:
                raise Refused(f"{entry.filename}: the archive holds it twice")
            seen.add(entry.filename)
            if not _is_hidden(entry.filename):
                yield entry.filename

    def content(self, name: str, *, most: int = LARGEST_FILE) -> bytes:
        """The bytes of a file. Raises Refused if they are more than `most`, or damaged."""
        entry = self._zip.getinfo(name)
        if entry.file_size > most:
            raise Refused(f"{name}: a file may have {most:,} bytes at most, found {entry.file_size:,}")
        try:
            with self._zip.open(entry) as file:
                found = file.read(most + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise Refused(f"{name}: it is damaged: {error}") from error
        if len(found) > most:
            raise Refused(f"{name}: a file may have {most:,} bytes at most, found more")
        return found

    def extract(self, name: str, to: Path, *, most: int) -> None:
        """Write the bytes of a file into a file of the caller's. Raises Refused."""
        entry, written = self._zip.getinfo(name), 0
        try:
            with self._zip.open(entry) as file, to.open("wb") as out:
                while piece := file.read(2**20):
                    written += len(piece)
                    if written > most:
                        raise Refused(f"{name}: it may have {most:,} bytes at most, found more")
                    out.write(piece)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Refused(f"{name}: it is damaged: {error}") from error


class Place(NamedTuple):
    """Where a file of an archive stands: the part, the class, and its whole name."""

    part: str
    """`train` or `test`; empty if the archive says nothing of it."""
    label: str
    name: str


def places(names: Iterator[str]) -> list[Place]:
    """The files of class folders, also of those within `train` and `test`. Raises Refused for a class without files."""
    every = list(names)
    paths = [(PurePosixPath(name), name.endswith("/")) for name in every]
    tops = {path.parts[0] for path, _ in paths}
    has_parts = bool(tops) and tops <= {"train", "test"} and any(len(path.parts) > 2 for path, _ in paths)
    depth = 3 if has_parts else 2
    found: list[Place] = []
    folders: set[tuple[str, ...]] = set()
    for (path, is_folder), name in zip(paths, every, strict=True):
        if is_folder:
            folders |= {path.parts} if len(path.parts) == depth - 1 else set()
            continue
        if len(path.parts) != depth:
            layout = "train/CLASS/IMAGE and test/CLASS/IMAGE" if has_parts else "CLASS/IMAGE"
            raise Refused(f"{name}: expected {layout}, a folder for each class")
        found.append(Place(path.parts[0] if has_parts else "", path.parts[-2], name))
    filled = {PurePosixPath(place.name).parts[:-1] for place in found}
    if empty := sorted(folders - filled):
        raise Refused(f"{'/'.join(empty[0])}: the folder of a class has no image")
    return sorted(found)


def _check(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise Refused(f"{name!r}: the name of a file must stay within its folder")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused(f"{name}: expected a file, found a link or a device")
    if entry.flag_bits & 1:
        raise Refused(f"{name}: it is encrypted")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _WITHOUT_MEANING for part in PurePosixPath(name).parts)
