"""Where does a runner come from? It is forked from a process that has imported torch, in milliseconds.

    python -m worker.fork_server N      takes orders from the socket with the file descriptor N until it is closed

An order is one byte with three file descriptors: the runner's standard input, its output, and a socket on which the
worker reads the runner's process id and then its exit status. A runner keeps its process id until the worker closes
that socket; what is left of its process group is killed then.

A fork is safe only in a process that has one thread and no CUDA context. So this one imports, and does nothing else.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

from worker import runner

DESCRIPTORS = 3
"""Sent with each order."""


class Runners:
    """The runners that were forked, and the sockets on which the worker reads how they are."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._status: dict[int, socket.socket] = {}
        self._unread: set[int] = set()
        """Runners of which the worker has not read that they ended."""
        self._ended, ended = socket.socketpair()
        ended.setblocking(False)  # noqa: FBT003 — as a wake-up of a signal must be
        self._on_signal = ended
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._orders, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ended.fileno())

    def serve(self) -> bool:
        """Fork a runner for each order. True in a runner; False in this process, when the worker is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._orders:
                    order, descriptors, _, _ = socket.recv_fds(self._orders, 1, DESCRIPTORS)
                    if not order:
                        return False
                    if self._fork(*descriptors):
                        return True
                elif key.fileobj is self._ended:
                    self._ended.recv(4096)
                    self._report_ends()
                else:
                    self._release(key.data)

    def _fork(self, stdin: int, stdout: int, status: int) -> bool:
        """Whether this is the runner. Where no process can be made, the worker reads that the runner is gone."""
        try:
            pid = os.fork()
        except OSError as error:
            print(f"no runner can be forked: {error}", file=sys.stderr, flush=True)
            _close(stdin, stdout, status)
            return False
        if pid == 0:
            self._forget()
            os.setsid()
            for number, descriptor in enumerate((stdin, stdout, stdout)):
                os.dup2(descriptor, number)
            _close(stdin, stdout, status)
            return True
        _close(stdin, stdout)
        self._status[pid] = socket.socket(fileno=status)
        self._unread.add(pid)
        self._selector.register(self._status[pid], selectors.EVENT_READ, pid)
        self._tell(pid, pid)
        return False

    def _forget(self) -> None:
        """In a runner: leave to the server what is the server's, or the worker would not notice its end."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.close()

    def close(self) -> None:
        """Close all that it reads."""
        self._selector.close()
        for each in (self._orders, self._ended, self._on_signal, *self._status.values()):
            each.close()

    def _report_ends(self) -> None:
        for pid in list(self._unread):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            self._unread.remove(pid)
            self._tell(pid, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
            if self._status[pid].fileno() < 0:
                self._reap(pid)

    def _release(self, pid: int) -> None:
        """The worker needs this runner no more: kill what is left of it, and let its process id go."""
        self._selector.unregister(self._status[pid])
        self._status[pid].close()
        for kill in (os.killpg, os.kill):  # in its first moments it leads no group yet
            with suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        if pid not in self._unread:
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        os.waitpid(pid, 0)
        del self._status[pid]

    def _tell(self, pid: int, number: int) -> None:
        with suppress(OSError):  # the worker has closed it
            self._status[pid].sendall(b"%d\n" % number)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def main() -> None:
    """Serve until the worker is gone; in a forked process, run one attempt."""
    runner.warm_up()
    gc.collect()
    gc.freeze()  # what is imported stays in memory that the runners share
    if Runners(socket.socket(fileno=int(sys.argv[1]))).serve():
        runner.run()


if __name__ == "__main__":
    main()
