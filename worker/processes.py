"""How does a runner's process begin and end? In a session of its own, connected to us by pipes.

It is forked from a process that has imported torch (`forked`), or executed where the settings or the system want no
such process. A thread reads its output (`log_pump`). A spare runner waits for the next job; it touches no CUDA before
it gets its devices.
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
from worker import forked
from worker.forked import Forked
from worker.log_pump import Pump


class Runner:
    """A process that runs one attempt or none."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        """`environment` is added to that of this process: a runner's share of the machine (`cores.environment`)."""
        self._environment = settings.environment() | dict(environment)
        self._process = _start(self._environment, is_forked=settings.spare_runner)
        self._was_killed = False
        self._oom_kills: out_of_memory.OomKills | None = None
        assert isinstance(self._process.stdout, io.BufferedReader)
        self._pump = Pump(self._process.stdout, settings)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        if self._process.poll() is not None:
            return False
        if self._oom_kills:
            self._oom_kills.look()
        elif self._process.pid:  # from now on, which is soon enough: it has no attempt yet, or loads its data
            out_of_memory.make_likelier_victim(self._process.pid)
            self._oom_kills = out_of_memory.OomKills(self._process.pid)
        return True

    def assign(self, token: UUID, *, visible: str) -> None:
        """Give it an attempt and the GPUs to run it on."""
        self._pump.write_for(token)
        if self._oom_kills:
            self._oom_kills.begin()
        self._say(json.dumps({"token": str(token), "visible": visible, "environment": self._environment}))

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
        self._process.end()
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()

    def last_words(self) -> str:
        """How it ended, and the last lines that it printed."""
        self._pump.finish(seconds=5)
        return f"the runner ended with {_reason(self._process.poll())}\n{self._pump.tail()}".strip()

    def outcome(self, words: str) -> Crashed | Failed:
        """The outcome of an attempt that its runner did not settle, by how the process ended."""
        if self._ended_for_memory():
            return Failed(code="out_of_memory", message=f"the machine had no memory left for it\n{words}")
        return Crashed(message=words)

    def _ended_for_memory(self) -> bool:
        status = self._process.poll()
        if status == -signal.SIGKILL and not self._was_killed:
            return self._oom_kills is not None and self._oom_kills.rose
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


class Executed(subprocess.Popen[bytes]):
    """A runner that was executed, and does its imports itself."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(
            [sys.executable, "-m", "worker.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def end(self) -> None:
        """Kill its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def _start(environment: Mapping[str, str], *, is_forked: bool) -> Executed | Forked:
    """Forks only on Linux: other systems' libraries may have threads before we do anything."""
    if is_forked and sys.platform == "linux":
        return forked.server(environment).fork()
    return Executed(environment)


def _reason(status: int | None) -> str:
    assert status is not None  # it was ended
    if status >= 0:
        return f"exit status {status}"
    if -status == signal.SIGKILL:
        return "SIGKILL"
    return signal.Signals(-status).name
