"""Which processes are there, and are they gone?

A process that ended but that its parent has not collected yet (a zombie) is gone: under a careless process 1, as in
many containers, it may stay in the table for long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def working_in(folder: Path, *, program: str) -> list[psutil.Process]:
    """The living processes of a program whose working directory is this folder."""
    place = folder.resolve()
    return [process for process in psutil.process_iter() if _works_in(place, process, program)]


def lives(process: psutil.Process) -> bool:
    """Whether it runs; a process id that another program got since does not count."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until_gone(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Those that still live when the seconds are over; none as soon as all are gone."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if lives(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if lives(process)]
    return alive


def kill(processes: Iterable[psutil.Process]) -> None:
    """End them at once; they cannot object."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _works_in(place: Path, process: psutil.Process, program: str) -> bool:
    with suppress(psutil.Error, OSError):
        return process.name() == program and Path(process.cwd()) == place and lives(process)
    return False
