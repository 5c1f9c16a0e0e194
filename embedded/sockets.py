"""Where is an engine's unix socket?

Beside the engine's data, unless that path is too long or too odd for a socket's address: then in a short private
folder of its own. That folder is recorded beside the data, so that the next start finds a server that still runs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

LONGEST = 103
"""Bytes of a socket's path: sun_path holds 104 on macOS and 108 on Linux, including the final zero."""


def folder(data: Path, *, name: str) -> Path:
    """The folder for a socket called `name` of the engine whose data are in `data`."""
    if _fits(data / name):
        return data
    note = data / "socket-folder"
    if (
        note.exists()
        and (remembered := Path(note.read_text(encoding="utf-8", errors="surrogateescape").strip())).is_dir()
    ):
        return remembered
    fresh = Path(tempfile.mkdtemp(prefix="hsu-", dir=_short_temporary_folder()))
    note.write_text(f"{fresh}\n", encoding="utf-8", errors="surrogateescape")
    return fresh


def forget(data: Path) -> None:
    """Remove the private folder, if there is one; the engine has stopped."""
    note = data / "socket-folder"
    if not note.exists():
        return
    shutil.rmtree(note.read_text(encoding="utf-8", errors="surrogateescape").strip(), ignore_errors=True)
    note.unlink()


def _fits(socket: Path) -> bool:
    """Whether every program takes this path: a comma separates folders for Postgres and hosts for its clients."""
    return len(os.fsencode(socket)) <= LONGEST and "," not in str(socket)


def _short_temporary_folder() -> str:
    """A folder with a short path: TMPDIR may be as long as the data's path."""
    return tempfile.gettempdir() if _fits(Path(tempfile.gettempdir(), "hsu-abcdefgh", ".s.PGSQL.5432")) else "/tmp"  # noqa: S108
