"""How does a worker get a runner from its fork server, and learn how it ended? As if it had started it itself.

Knows sockets and process ids. Knows no torch: the server, `fork_server`, is a process of its own. All runners of a
worker come from the same one, which is started again if it ended.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

_ORDER = b"+"


class Forked:
    """A runner that a fork server forked for us."""

    def __init__(self, status: socket.socket, stdin: int, stdout: int) -> None:
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        self._returncode: int | None = None
        self._status = status
        self._lines = b""
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its process id; None until the server has forked it."""
        return int(self._lines.split(b"\n")[0]) if b"\n" in self._lines else None

    def end(self) -> None:
        """Kill its process group. One that is not forked yet is killed by the server, which reads that we closed it."""
        if self._status.fileno() < 0:
            return  # it was ended before, and its process id may be another's
        self.poll()
        self._kill()
        while self.pid and self.poll() is None:
            time.sleep(0.005)
        with self._lock:
            self._status.close()
            if self._returncode is None:
                self._returncode = -signal.SIGKILL

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives or is not forked yet."""
        with self._lock:
            while self._returncode is None and (found := self._received()) is not None:
                self._lines += found
                if not found:  # the server is gone, and with it all that can be known of this process
                    self._kill()
                    self._returncode = -signal.SIGKILL
                elif self._lines.count(b"\n") == 2:
                    self._returncode = int(self._lines.split(b"\n")[1])
            return self._returncode

    def _received(self) -> bytes | None:
        """What the server has written; empty when it is gone, None if nothing is there now."""
        try:
            return self._status.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def _kill(self) -> None:
        if pid := self.pid:
            for kill in (os.killpg, os.kill):  # in its first moments it leads no group yet
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)


class ForkServer:
    """A process that has imported torch, of which runners are copies."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._start()
        atexit.register(self.close)

    @property
    def process_id(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it must be started again."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it, and with it its runners."""
        self._orders.close()
        self._process.wait()

    def _start(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 — our own module
                [sys.executable, "-m", "worker.fork_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(self) -> Forked:
        """A new runner. It does not wait until the server has imported what it needs."""
        with self._lock:
            if self.has_ended:
                self._orders.close()
                self._start()
            their_input, stdin = os.pipe()
            stdout, their_output = os.pipe()
            status, their_status = socket.socketpair()
            theirs = (their_input, their_output, their_status.detach())
            try:
                socket.send_fds(self._orders, [_ORDER], theirs)
            except BrokenPipeError:
                pass  # it has just ended; with its socket closed, so has the runner
            finally:
                for descriptor in theirs:
                    os.close(descriptor)
            return Forked(status, stdin, stdout)


_servers: dict[frozenset[tuple[str, str]], ForkServer] = {}


def server(environment: Mapping[str, str]) -> ForkServer:
    """The fork server of this process for runners of this environment.

    Only the variables of OpenMP must agree, which are read when a process starts; a runner gets the others later.
    """
    openmp = frozenset((name, value) for name, value in environment.items() if "OMP_" in name)
    if openmp not in _servers:
        _servers[openmp] = ForkServer(environment)
    return _servers[openmp]
