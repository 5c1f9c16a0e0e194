"""Which processes are there, and which are gone?

A process that has ended counts as gone even if its parent has not collected it yet (a zombie): with a process 1 that
does not collect, as in many containers, it may stay in the table for long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def working_in(folder: Path, *, program: str) -> list[psutil.Process]:
    """The live processes of a program whose working directory is this folder."""
    place = folder.resolve()
    return [process for process in psutil.process_iter() if _works_in(place, process, program)]


def lives(process: psutil.Process) -> bool:
    """Whether it runs; a process id that another program has reused does not count."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until_gone(processes: Iterable[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Wait until all are gone, at most `seconds`; returns those that still live."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if lives(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [process for process in alive if lives(process)]
    return alive


def kill(processes: Iterable[psutil.Process]) -> None:
    """End them at once (SIGKILL)."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _works_in(place: Path, process: psutil.Process, program: str) -> bool:
    with suppress(psutil.Error, OSError):
        return process.name() == program and Path(process.cwd()) == place and lives(process)
    return False
