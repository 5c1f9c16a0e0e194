"""How is a process kept running that a library may end at any time? It is restarted as long as our process lives.

Knows processes and clocks. The process that it starts reads a pipe, its standard input, and ends when that closes: when
our process ends, in whatever way.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

_log = logging.getLogger(__name__)

FIRST = timedelta(seconds=1)
"""Delay before the first restart; twice as long after each further end."""
LONGEST = timedelta(seconds=30)
STEADY = timedelta(minutes=1)
"""Run time after which an end counts as the first one again."""


class Restarted:
    """A process that is restarted whenever it has ended."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], inherited: Sequence[int] = ()
    ) -> None:
        """`inherited`: the file descriptors that it gets in addition to the standard ones."""
        self._name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._inherited = tuple(inherited)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name=name, daemon=True)

    def start(self) -> None:
        """Start it, and restart it whenever it has ended."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ask it to end, this time for good."""
        self._stopping.set()
        with self._lock:
            if self._process:
                self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Ask it to end and wait; if it does not end in time it is killed."""
        self.ask_to_stop()
        self._thread.join(max(0.0, seconds))
        with self._lock:
            if self._process:
                self._process.kill()
        self._thread.join()

    def _keep_up(self) -> None:
        wait = FIRST
        while not self._stopping.is_set():
            began = time.monotonic()
            how = self._run()
            if time.monotonic() - began > STEADY.total_seconds():
                wait = FIRST
            if self._stopping.is_set():
                return
            _log.warning("%s ended (%s); it is started again in %g s", self._name, how, wait.total_seconds())
            self._stopping.wait(wait.total_seconds())
            wait = min(2 * wait, LONGEST)

    def _run(self) -> str:
        """Run it once; returns how it ended."""
        try:
            with self._lock:
                if self._stopping.is_set():
                    return "not started"
                self._process = subprocess.Popen(  # noqa: S603 - our own programs
                    self._command,
                    stdin=subprocess.PIPE,
                    env=self._environment,
                    pass_fds=self._inherited,
                    start_new_session=True,  # Ctrl-C in a terminal is for us
                )
        except OSError as error:  # no memory or no process left: a later try may succeed
            return str(error)
        status = self._process.wait()
        with self._lock, suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        return f"status {status}"
