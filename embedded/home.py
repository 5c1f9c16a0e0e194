"""What lies in the folder of a one-machine installation, and who runs in it?

FOLDER/postgres, redis   the engines' data        FOLDER/artifacts   what jobs leave
FOLDER/log               what each process says   FOLDER/key         an admin's API key
FOLDER/up                who runs here: held under a lock that ends with its process, in whatever way that ends
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
    """The process that keeps everything up."""

    pid: int
    url: str | None
    """Where the API answers; nothing before it does."""


def default() -> Path:
    """HSU_HOME, or `.hsu` where we are."""
    return Path(os.environ.get("HSU_HOME", ".hsu"))


@contextmanager
def occupy(folder: Path) -> Iterator[IO[str]]:
    """Be the only one that runs here. Raises `CannotStart` with the address of who already does."""
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
    """Write down who we are."""
    note.seek(0)
    note.truncate()
    note.write(json.dumps(occupant._asdict()))
    note.flush()


def occupant(folder: Path) -> Occupant | None:
    """Who runs here now, or nothing: a note without its lock is left from somebody who was killed."""
    with suppress(FileNotFoundError, ValueError), (folder / "up").open(encoding="utf-8") as note:
        if not _lock(note, within=0, mode=fcntl.LOCK_SH):
            return Occupant(**json.load(note))
    return None


def _lock(note: IO[str], *, within: float, mode: int = fcntl.LOCK_EX) -> bool:
    """Whether we got the lock; somebody who only looks holds it for an instant, so one may wait `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(note, mode | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
