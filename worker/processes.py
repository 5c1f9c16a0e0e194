"""How does a runner's process begin and end? As a fresh process in its own session, connected to us by a pipe.

A thread reads its output (`log_pump`). A spare process is started in advance and imports torch, so that a job does not
wait for that; it touches no CUDA before it gets its devices.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from hsu_core.training import out_of_memory
from hsu_jobs.outcomes import Crashed, Failed
from hsu_jobs.settings import Settings
from worker.log_pump import Pump


class Runner:
    """A process that runs one attempt or none."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        """`environment` is added to that of this process: a runner's share of the machine (`cores.environment`)."""
        self._settings = settings
        self._was_killed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=settings.environment() | dict(environment),
            start_new_session=True,
        )
        out_of_memory.make_likelier_victim(self._process.pid)
        self._oom_kills = out_of_memory.OomKills(self._process.pid)
        assert isinstance(self._process.stdout, io.BufferedReader)
        self._pump = Pump(self._process.stdout, settings)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        if self._process.poll() is not None:
            return False
        self._oom_kills.look()
        return True

    def assign(self, token: UUID, *, visible: str) -> None:
        """Give it an attempt and the GPUs to run it on."""
        self._pump.write_for(token)
        self._oom_kills.begin()
        self._say(json.dumps({"token": str(token), "visible": visible}))

    def ask_to_stop(self) -> None:
        """Ask it to save its state and end."""
        self._say("stop")

    def wait(self, seconds: float) -> bool:
        """Whether it ended within this time."""
        deadline = time.monotonic() + seconds
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.is_alive

    def kill(self) -> None:
        """End it and all processes that it started: they share its session."""
        self._was_killed = self._was_killed or self._process.poll() is None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()

    def last_words(self) -> str:
        """How it ended, and the last lines that it printed."""
        self._pump.finish(seconds=5)
        return f"the runner ended with {_reason(self._process.returncode)}\n{self._pump.tail()}".strip()

    def outcome(self, words: str) -> Crashed | Failed:
        """The outcome of an attempt that its runner did not settle, by how the process ended."""
        if self._ended_for_memory():
            return Failed(code="out_of_memory", message=f"the machine had no memory left for it\n{words}")
        return Crashed(message=words)

    def _ended_for_memory(self) -> bool:
        status = self._process.returncode
        if status == -signal.SIGKILL and not self._was_killed:
            return self._oom_kills.rose
        return status == out_of_memory.EXIT_STATUS

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()


class Spare:
    """A runner that waits for its attempt, if the settings ask for one."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self._settings = settings
        self._environment = environment
        self._runner: Runner | None = None

    def prepare(self) -> None:
        """Start one in advance."""
        if not self._settings.spare_runner:
            return
        if self._runner is None or not self._runner.is_alive:
            self.put_away()
            self._runner = Runner(self._settings, self._environment)

    def take(self) -> Runner:
        """The waiting runner, or a new one."""
        runner, self._runner = self._runner, None
        return runner if runner and runner.is_alive else Runner(self._settings, self._environment)

    def put_away(self) -> None:
        """End it."""
        if self._runner:
            self._runner.kill()
        self._runner = None


def _reason(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    if -status == signal.SIGKILL:
        return "SIGKILL"
    return signal.Signals(-status).name
