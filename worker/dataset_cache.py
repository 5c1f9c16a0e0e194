"""Which own data sets are on this machine? A folder for each content, fetched once, and removed when there is no room.

Runners share the cache: each holds a lock on what it uses, which ends with its process, however that ends. What was
used longest ago is removed first, and nothing that is in use. A folder appears complete and checked, or not at all.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsu_core.data.images import DamagedFile
from hsu_core.data.own import manifest
from hsu_core.data.own.manifest import Manifest
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.datasets import storing

_log = logging.getLogger(__name__)


@contextmanager
def cached(folder: Path, sha256: str, storage: Storage, *, most_bytes: int) -> Iterator[Path]:
    """The folder of this content, which stays while the `with` lasts.

    Raises DamagedFile, also if the storage certainly lacks it, or an OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / sha256
    with _lock_file(folder, sha256) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not place.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever waits here finds it fetched
            if not place.exists():
                _fetch(folder, sha256, storage, most_bytes=most_bytes)
            fcntl.flock(lock, fcntl.LOCK_SH)  # another process may take the lock in between, and remove it
        os.utime(place)
        yield place


@contextmanager
def _lock_file(folder: Path, name: str) -> Iterator[int]:
    """The file whose lock all share who use a content, and which who fetches or removes it holds alone."""
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # which ends the lock


def _fetch(folder: Path, sha256: str, storage: Storage, *, most_bytes: int) -> None:
    """Copy the content from the storage, check it, and put it into its place."""
    partial = folder / f"{sha256}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        _copy(storage, sha256, manifest.NAME, partial)
        found = manifest.read(partial, sha256=sha256)
        with _lock_file(folder, "room") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _remove_abandoned(folder)
            _make_room(folder, found, most_bytes)
        for name in found.files:
            _copy(storage, sha256, name, partial)
        manifest.verify(partial, found)
        partial.rename(folder / sha256)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _copy(storage: Storage, sha256: str, name: str, to: Path) -> None:
    try:
        storage.copy(f"{storing.content(sha256)}/{name}", to / name)
    except FileNotFoundError as error:
        raise DamagedFile(str(error)) from error


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed had fetched in part, or had not removed to the end."""
    for path in [*folder.glob("*.partial"), *folder.glob("*.gone")]:
        with _lock_file(folder, path.stem) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # it is being fetched or removed
                continue
            shutil.rmtree(path, ignore_errors=True)


def _make_room(folder: Path, new: Manifest, most_bytes: int) -> None:
    """Remove what was used longest ago until the new content fits, or nothing is left that nobody uses."""
    places = [path for path in folder.iterdir() if path.is_dir() and not path.suffix]
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in places}
    taken = sum(sizes.values()) + new.size
    for path in sorted(places, key=lambda path: path.stat().st_mtime):
        if taken <= most_bytes:
            return
        if _remove(folder, path):
            _log.info("the data set %s was removed from the cache", path.name)
            taken -= sizes[path]
    if taken > most_bytes:
        _log.warning("the cache %s takes %d bytes, and may take %d: jobs use all of it", folder, taken, most_bytes)


def _remove(folder: Path, place: Path) -> bool:
    """Remove a content, unless somebody uses it; whether it was removed."""
    with _lock_file(folder, place.name) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        gone = folder / f"{place.name}.gone"
        place.rename(gone)
        shutil.rmtree(gone)
        return True
