"""What is in the folder of a one-machine installation, and which process runs in it?

FOLDER/postgres, redis   the engines' data        FOLDER/artifacts   what jobs leave
FOLDER/log               each process's output    FOLDER/key         an admin's API key
FOLDER/up                which process runs here, under a lock that ends with that process, however it ends
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from embedded.errors import CannotStart


class Occupant(NamedTuple):
    """The process that keeps everything running."""

    pid: int
    url: str | None
    """The API's URL; None before it answers."""


def default() -> Path:
    """HSU_HOME, or `.hsu` in the working directory."""
    return Path(os.environ.get("HSU_HOME", ".hsu"))


@contextmanager
def occupy(folder: Path) -> Iterator[IO[str]]:
    """Be the only process that runs here. Raises `CannotStart` with the address of one that runs here already."""
    with (folder / "up").open("a+", encoding="utf-8") as note:
        if not _lock(note, within=1.0):
            url = (occupant(folder) or Occupant(0, None)).url
            where = f"at {url}" if url else "or about to run"
            raise CannotStart(
                f"already running {where}, in {folder}: use it, or stop it with `python -m embedded down`"
            )
        write_note(note, Occupant(os.getpid(), None))
        yield note


def write_note(note: IO[str], occupant: Occupant) -> None:
    """Write which process runs here, and its URL."""
    note.seek(0)
    note.truncate()
    note.write(json.dumps(occupant._asdict()))
    note.flush()


def occupant(folder: Path) -> Occupant | None:
    """The process that runs here, or None: a note without its lock is left from a killed process."""
    with suppress(FileNotFoundError, ValueError), (folder / "up").open(encoding="utf-8") as note:
        if not _lock(note, within=0, mode=fcntl.LOCK_SH):
            return Occupant(**json.load(note))
    return None


def _lock(note: IO[str], *, within: float, mode: int = fcntl.LOCK_EX) -> bool:
    """Take the lock in at most `within` seconds; returns whether. A process that only looks has it for an instant."""
    deadline = time.monotonic() + within
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(note, mode | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
