"""How do our processes start, and how do they end without a trace?

Each runs in a session of its own, so that Ctrl-C reaches only the parent. Each has a mark in its environment, which its
children inherit: so a later run finds all processes that a killed one left behind, and no others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded import processes
from embedded.errors import CannotStart

MARK = "HSU_CHILD_OF"
SECONDS_TO_STOP = 28.0
"""More than a worker takes until its jobs have saved their state (HSU_SHUTDOWN, 15 s) and it has settled them."""


@dataclass(frozen=True)
class Child:
    """A process that we started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise `CannotStart` with the end of its log if it has ended."""
        if not self.is_alive:
            raise CannotStart(f"{self.name} ended with {self.last_words()}")

    def last_words(self) -> str:
        """Its exit status and the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:] if self.log.exists() else []
        return "\n".join([f"status {self.process.returncode}; the end of {self.log}:", *lines])


def start(folder: Path, name: str, module: Sequence[str], environment: Mapping[str, str]) -> Child:
    """Run `python -m module...`; its output is appended to FOLDER/log/NAME.log."""
    log = folder / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=marked(folder, environment),
            start_new_session=True,
        )
    return Child(name, process, log)


def clear(child: Child) -> None:
    """End processes that a process which has ended left in its session, such as a web server's own processes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGKILL)


def stop(child: Child) -> None:
    """Ask it to stop, and wait; if it does not stop in time it is killed."""
    child.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.process.wait(SECONDS_TO_STOP)
    child.process.kill()
    child.process.wait()


def stop_strays(folder: Path) -> int:
    """End every live process that was started for this folder; returns how many there were.

    Only the topmost are asked: a worker ends its own runners.
    """
    strays = marked_processes(folder)
    numbers = {process.pid for process in strays}
    for process in strays:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in numbers:
                process.terminate()
    processes.kill(processes.wait_until_gone(strays, seconds=SECONDS_TO_STOP))
    return len(strays)


def marked(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that belongs to this folder."""
    return {**os.environ, **environment, MARK: str(folder.resolve())}


def marked_processes(folder: Path) -> list[psutil.Process]:
    """The living processes that were started for this folder, and what they started."""
    place = str(folder.resolve())
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == place and processes.lives(process):
                found.append(process)
    return found
