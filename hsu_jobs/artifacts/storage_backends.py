"""How are files reached in a folder that machines share, and how in an object store?

Knows names, files and fsspec. Knows no jobs and no installation: `storage` checks whose storage it is. Both have the
same methods, raise FileNotFoundError only where a file is certainly not there, and are used inside a `with`. A folder
is then held open by its descriptor: a file is read, found missing or removed in that very folder, also if the folder
is unmounted or replaced in between.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self
from uuid import uuid4

from fsspec.core import url_to_fs

MARKER = ".hsu-installation"
"""The file at the top of a storage that names its installation."""


Content = bytes | Path | Iterator[bytes]
"""What can be stored: bytes, a copy of a file, or bytes that come piece by piece."""
PIECE = 1 << 22
"""Bytes that are read at once."""


class StorageUnavailable(OSError):
    """The storage is away, is another one, or cannot be used: nothing is known of the files in it."""


class StoredFile(NamedTuple):
    """A file that can be read."""

    size: int
    identity: str
    """Another one as soon as the file is another, or was written to."""
    read: Callable[[int, int], bytes]
    """The bytes from one place to before another."""

    def pieces(self) -> Iterator[bytes]:
        """All bytes, piece by piece."""
        for begin in range(0, self.size, PIECE):
            yield self.read(begin, min(begin + PIECE, self.size))


class Folder:
    """A folder that all machines share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._top = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StorageUnavailable(f"the folder {self._path} cannot be opened: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._top)

    def read_marker(self) -> str | None:
        """The text of the marker; None if there is none."""
        try:
            descriptor = os.open(MARKER, os.O_RDONLY, dir_fd=self._top)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
            return file.read(200).strip()

    def write_marker(self, text: str) -> None:
        """Write the marker, whole or not at all."""
        partial = f"{MARKER}.partial"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=self._top)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, MARKER, src_dir_fd=self._top, dst_dir_fd=self._top)
        os.fsync(self._top)

    def is_missing(self, name: str) -> bool:
        """Whether there is certainly no such file; a broken link is an outage, not a missing file."""
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            try:
                found = os.lstat(prefix, dir_fd=self._top)
                if stat.S_ISLNK(found.st_mode):
                    os.stat(prefix, dir_fd=self._top)
            except FileNotFoundError as error:
                if _is_link(prefix, self._top):
                    raise StorageUnavailable(f"{self._path / prefix} is a link that leads nowhere") from error
                return True
        return False

    def fetch(self, name: str) -> None:
        """Do nothing: all machines share the folder. Raises FileNotFoundError if the file is certainly not there."""
        if self.is_missing(name):
            raise FileNotFoundError(f"{self._path / name} is not there")

    @contextmanager
    def reading(self, name: str) -> Iterator[StoredFile]:
        """Hold a file open. Raises FileNotFoundError if the file is certainly not there."""
        self.fetch(name)
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self._top)
        try:
            found = os.fstat(descriptor)
            identity = f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"
            yield StoredFile(found.st_size, identity, lambda start, stop: os.pread(descriptor, stop - start, start))
        finally:
            os.close(descriptor)

    publish = fetch

    def store(self, name: str, content: Content) -> None:
        """Write bytes, or a copy of a file, whole or not at all."""
        folder, _, _ = name.rpartition("/")
        self.make_folder(folder)
        partial = f"{name}.{uuid4().hex}.partial"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=self._top)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _write(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(partial, name, src_dir_fd=self._top, dst_dir_fd=self._top)
        except BaseException:
            os.unlink(partial, dir_fd=self._top)
            raise

    def copy(self, name: str, to: Path) -> None:
        """Copy a file to a place elsewhere."""
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self._top)
        with os.fdopen(descriptor, "rb") as file, to.open("wb") as out:
            shutil.copyfileobj(file, out, 2**20)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        if not self.is_missing(name):
            os.unlink(name, dir_fd=self._top)

    def delete_folder(self, name: str) -> None:
        """Remove a folder, if it is there and empty."""
        with suppress(OSError):
            os.rmdir(name, dir_fd=self._top)

    def make_folder(self, name: str) -> None:
        """Make a folder and those above it, unless they are there."""
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            try:
                os.mkdir("/".join(parts[:depth]), dir_fd=self._top)
            except FileExistsError:
                continue

    def names(self, folder: str, *, older_than: float) -> list[str]:
        """The files two levels below a folder that were not written for so many seconds."""
        found = [path.relative_to(self._path).as_posix() for path in (self._path / folder).glob("*/*.safetensors")]
        return [name for name in found if self._age(name) > older_than]

    def _age(self, name: str) -> float:
        try:
            return time.time() - os.stat(name, dir_fd=self._top).st_mtime
        except OSError:
            return -1.0


class Bucket:
    """An object store; each machine has a scratch folder of its own."""

    def __init__(self, url: str, scratch: Path) -> None:
        self._url = url
        self._scratch = scratch

    def __enter__(self) -> Self:
        with _answering(self._url):
            self._files, self._top = url_to_fs(self._url.rstrip("/"))
            self._files.invalidate_cache()  # an earlier listing may be out of date
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read_marker(self) -> str | None:
        """The text of the marker; None if there is none."""
        with _answering(self._url):
            try:
                content: bytes = self._files.cat_file(self._at(MARKER))
            except FileNotFoundError:
                return None
            return content[:200].decode(errors="replace").strip()

    def write_marker(self, text: str) -> None:
        """Write the marker: an object appears whole or not at all."""
        with _answering(self._url):
            self._files.makedirs(self._top, exist_ok=True)
            self._files.pipe_file(self._at(MARKER), f"{text}\n".encode())

    def is_missing(self, name: str) -> bool:
        """Whether there is certainly no such object."""
        with _answering(self._url):
            try:
                self._files.info(self._at(name))
            except FileNotFoundError:
                return True
            return False

    def fetch(self, name: str) -> None:
        """Copy an object to its place on this machine. Raises FileNotFoundError if it is certainly not there."""
        place = self._scratch / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.is_missing(name):
            raise FileNotFoundError(f"{self._url}/{name} is not there")
        with _answering(self._url):
            self._files.get_file(self._at(name), str(place))

    @contextmanager
    def reading(self, name: str) -> Iterator[StoredFile]:
        """Read parts of an object. Raises FileNotFoundError if the object is certainly not there."""
        if self.is_missing(name):
            raise FileNotFoundError(f"{self._url}/{name} is not there")
        with _answering(self._url):
            about = self._files.info(self._at(name))
        written = about.get("ETag") or about.get("LastModified") or about.get("mtime")

        def read(start: int, stop: int) -> bytes:
            with _answering(self._url):
                found: bytes = self._files.cat_file(self._at(name), start, stop)
            return found

        yield StoredFile(about["size"], f"{written} {about['size']}", read)

    def publish(self, name: str) -> None:
        """Copy a file of this machine into the store; an object that is there already, from an earlier try, stays."""
        place = self._scratch / name
        if not place.exists():
            if self.is_missing(name):
                raise FileNotFoundError(f"neither {place} nor {self._url}/{name} is there")
            return
        with _answering(self._url):
            self._files.put_file(str(place), self._at(name))
        place.unlink(missing_ok=True)

    def store(self, name: str, content: Content) -> None:
        """Write bytes, or a copy of a file: an object appears whole or not at all."""
        if not isinstance(content, bytes | Path):
            self._store_pieces(name, content)
            return
        place = self._at(name)
        with _answering(self._url):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            if isinstance(content, bytes):
                self._files.pipe_file(place, content)
            else:
                self._files.put_file(str(content), place)

    def _store_pieces(self, name: str, pieces: Iterator[bytes]) -> None:
        """Write them to this machine first: an upload that breaks off must leave no object."""
        partial = self._scratch / f".{uuid4().hex}.partial"
        self._scratch.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                _write(pieces, file)
            self.store(name, partial)
        finally:
            partial.unlink(missing_ok=True)

    def copy(self, name: str, to: Path) -> None:
        """Copy an object to a place on this machine."""
        with _answering(self._url):
            self._files.get_file(self._at(name), str(to))

    def delete(self, name: str) -> None:
        """Remove an object and its copy on this machine, if they are there."""
        (self._scratch / name).unlink(missing_ok=True)
        if not self.is_missing(name):
            with _answering(self._url):
                self._files.rm_file(self._at(name))

    def delete_folder(self, name: str) -> None:
        """Do nothing: a store has no folders."""

    def make_folder(self, name: str) -> None:
        """Make the folder on this machine; a store needs none."""
        (self._scratch / name).mkdir(parents=True, exist_ok=True)

    def names(self, folder: str, *, older_than: float) -> list[str]:
        """The objects below a folder that were not written for so many seconds; those of unknown age count as new."""
        with _answering(self._url):
            found: dict[str, dict[str, object]] = self._files.find(self._at(folder), detail=True)
        old = [path for path, about in found.items() if _age(about) > older_than]
        return [path.removeprefix(f"{self._top}/") for path in old]

    def _at(self, name: str) -> str:
        return f"{self._top}/{name}"


def _write(content: Content, file: IO[bytes]) -> None:
    match content:
        case bytes():
            file.write(content)
        case Path():
            with content.open("rb") as source:
                shutil.copyfileobj(source, file, 2**20)
        case _:
            file.writelines(content)


def _is_link(name: str, top: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=top).st_mode)
    except FileNotFoundError:
        return False


def _age(about: dict[str, object]) -> float:
    written = about.get("LastModified") or about.get("mtime")
    if isinstance(written, int | float):
        return time.time() - written
    timestamp = getattr(written, "timestamp", None)
    return time.time() - timestamp() if timestamp else -1.0


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """Each store has its own errors; here each of them means that the store does not answer."""
    try:
        yield
    except Exception as error:
        raise StorageUnavailable(f"the store {url} does not answer: {type(error).__name__}: {error}") from error
