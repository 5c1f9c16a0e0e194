"""Where are a job's saved states? One folder for each attempt, in a folder that all machines share or an object store.

Knows names, and whose storage it is: a marker at its top holds the installation's identity. Without the marker, or with
another's, nothing is known of any file: that is an outage, and never a lost or damaged checkpoint (decision record 34).
An attempt saves into `artifacts_dir` of its own machine; `publish` puts the file where every machine finds it: in a
shared folder it is there already. Names in the database are paths within the storage.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from hsu_jobs.artifacts.storage_backends import MARKER, Bucket, Folder, StorageUnavailable, StoredFile
from hsu_jobs.settings import Settings

__all__ = ["MARKER", "Storage", "StorageUnavailable", "StoredFile"]

ORPHANS_AFTER = 24 * 3600.0
"""Seconds for which a file that no row names is kept: its attempt died between writing it and recording it."""


class Storage:
    """The storage of one installation, as this machine reaches it."""

    def __init__(self, settings: Settings, installation: UUID) -> None:
        self._folder = settings.artifacts_dir
        self._url = settings.artifacts_url
        self._owner = str(installation)

    def mark(self, *, expected: str | None = None, take_over: bool = False) -> None:
        """Write the marker; `take_over` also replaces another's. Raises `StorageUnavailable`.

        `expected` names a file that must be there: of an installation that saved states before markers existed.
        """
        with self._doubted():
            self._folder.mkdir(parents=True, exist_ok=True)
        with self._opened() as backend:
            found = backend.read_marker()
            if found is not None and found != self._owner and not take_over:
                raise StorageUnavailable(self._is_anothers(found))
            if expected and not take_over and backend.is_missing(expected):
                raise StorageUnavailable(f"{self} lacks {expected}, which the database names: {_ON_PURPOSE}")
            if found != self._owner:
                backend.write_marker(self._owner)

    def check(self) -> None:
        """Raise `StorageUnavailable` unless the storage is there, is ours, and can be written to."""
        with self._ours(), self._doubted():
            self._folder.mkdir(parents=True, exist_ok=True)  # with an object store, the scratch folder may be missing
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise StorageUnavailable(f"the folder {self._folder} may not be written to")

    def prepare(self, job_id: int, attempt: int) -> Path:
        """The folder that an attempt saves into: its own, so that a lost attempt harms no other."""
        name = f"{_folder(job_id)}/attempt-{attempt}"
        with self._ours() as backend:
            backend.make_folder(name)
        return self.checkpoint_folder(job_id, attempt)

    def checkpoint_folder(self, job_id: int, attempt: int) -> Path:
        """The path of that folder."""
        return self._folder / _folder(job_id) / f"attempt-{attempt}"

    def publish(self, path: Path) -> str:
        """Put a saved file where all machines find it; returns its name there.

        Raises `StorageUnavailable`; FileNotFoundError if the file is certainly nowhere.
        """
        name = path.relative_to(self._folder).as_posix()
        with self._ours() as backend:
            backend.publish(name)
        return name

    def fetch(self, name: str) -> Path:
        """The file of this name, copied to this machine if it is not here.

        Raises `StorageUnavailable`; FileNotFoundError if the storage is ours and certainly lacks it.
        """
        with self._ours() as backend:
            backend.fetch(name)
        return self._folder / name

    @contextmanager
    def reading(self, name: str) -> Iterator[StoredFile]:
        """The file of this name, which is read where it is.

        Raises `StorageUnavailable`, also when it is read; FileNotFoundError if the storage certainly lacks it.
        """
        with self._ours() as backend, backend.reading(name) as file:
            yield file

    def store(self, name: str, content: bytes | Path) -> None:
        """Put bytes, or a copy of a file, under this name: whole or not at all. Raises `StorageUnavailable`."""
        with self._ours() as backend:
            backend.store(name, content)

    def join(self, name: str, parts: Iterable[str]) -> str:
        """Put files together, in this order, as one file of this name, whole or not at all; returns its SHA-256.

        Raises `StorageUnavailable`; FileNotFoundError if the storage certainly lacks one of them.
        """
        digest = hashlib.sha256()
        with self._ours() as backend:
            backend.store(name, _joined(backend, parts, digest.update))
        return digest.hexdigest()

    def copy(self, name: str, to: Path) -> None:
        """Copy the file of this name to a place on this machine.

        Raises `StorageUnavailable`; FileNotFoundError if the storage is ours and certainly lacks it.
        """
        with self._ours() as backend:
            if backend.is_missing(name):
                raise FileNotFoundError(f"{self} lacks {name}")
            backend.copy(name, to)

    def missing(self, names: Iterable[str]) -> Iterator[str]:
        """Those of these files that the storage certainly lacks. Raises `StorageUnavailable`."""
        with self._ours() as backend:
            for name in names:
                if backend.is_missing(name):
                    yield name

    def remove(self, names: Collection[str]) -> None:
        """Remove these files, if they are there. Raises `StorageUnavailable`."""
        if names:
            with self._ours() as backend:
                for name in names:
                    backend.delete(name)

    def remove_folder(self, name: str, files: Collection[str]) -> None:
        """Remove these files of a folder, and the folder if it is then empty. Raises `StorageUnavailable`."""
        with self._ours() as backend:
            for file in files:
                backend.delete(f"{name}/{file}")
            backend.delete_folder(name)

    def tidy(self, job_id: int, *, given_up: Collection[str], known: Collection[str], before: int) -> None:
        """Remove files that were given up on purpose, and old files that no row names, of attempts before this one.

        Raises `StorageUnavailable`.
        """
        with self._ours() as backend:
            old = backend.names(_folder(job_id), older_than=ORPHANS_AFTER)
            orphans = [name for name in old if name not in known and _attempt(name) < before]
            for name in (*given_up, *orphans):
                backend.delete(name)

    def __str__(self) -> str:
        return f"the store {self._url}" if self._url else f"the folder {self._folder}"

    @contextmanager
    def _ours(self) -> Iterator[Folder | Bucket]:
        with self._opened() as backend:
            found = backend.read_marker()
            if found is None:
                raise StorageUnavailable(f"{self} holds no {MARKER}: is the right one mounted? If so, {_ON_PURPOSE}")
            if found != self._owner:
                raise StorageUnavailable(self._is_anothers(found))
            yield backend

    @contextmanager
    def _opened(self) -> Iterator[Folder | Bucket]:
        backend = Bucket(self._url, self._folder) if self._url else Folder(self._folder)
        with self._doubted(), backend:
            yield backend

    @contextmanager
    def _doubted(self) -> Iterator[None]:
        """Raise `StorageUnavailable` for each error of the system but a missing file: nothing is known then."""
        try:
            yield
        except (StorageUnavailable, FileNotFoundError):
            raise
        except OSError as error:
            raise StorageUnavailable(f"{self} cannot be used: {error}") from error

    def _is_anothers(self, found: str) -> str:
        return f"{self} belongs to installation {found}, expected {self._owner}: {_ON_PURPOSE}"


_ON_PURPOSE = "`python -m hsu_jobs.admin adopt-artifacts` makes it this installation's storage"


def _joined(backend: Folder | Bucket, parts: Iterable[str], also: Callable[[bytes], None]) -> Iterator[bytes]:
    for part in parts:
        with backend.reading(part) as file:
            for piece in file.pieces():
                also(piece)
                yield piece


def _folder(job_id: int) -> str:
    return f"jobs/{job_id}"


def _attempt(name: str) -> int:
    """The attempt that saved a file; for a file elsewhere a number above that of every ended attempt."""
    folder = name.rsplit("/", 2)[-2] if name.count("/") > 1 else ""
    number = folder.removeprefix("attempt-")
    return int(number) if number.isdigit() else 2**31
