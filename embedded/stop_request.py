"""Should this process stop? Yes, after a signal, or when its parent process is gone.

A parent that wants this holds the other end of our stdin, which closes when the parent ends, even by kill -9. Knows
stdin and signals. Knows nothing of what runs meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

LOOK_EVERY = 0.2
"""Seconds until a signal is noticed. It is never raised as an exception: a partial start could not be undone."""


class StopRequest:
    """Whether to stop. A request is never withdrawn. With `parent_pipe`, the end of stdin is a request too."""

    def __init__(self, *signals: signal.Signals, parent_pipe: bool) -> None:
        self.is_there = False
        self._watched = [sys.stdin.fileno()] if parent_pipe else []
        for number in signals:
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as we should stop, False when the seconds are over."""
        deadline = time.monotonic() + seconds
        while not self.is_there and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(self._watched, [], [], min(left, LOOK_EVERY))
            if ready and os.read(ready[0], 4096) == b"":  # input is ignored
                self.is_there = True
        return self.is_there

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.is_there = True


def leave_the_terminal() -> None:
    """Leave the terminal's session: its Ctrl-C is for our parent, whose end we notice."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(PermissionError):  # a group leader, as under a shell with job control, must stay
        os.setsid()
