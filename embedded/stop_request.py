"""Should we stop? Because a signal asked us to, or because whoever started us is gone.

Whoever starts us on a leash holds the other end of our stdin, which closes with it in whatever way it ends, kill -9
included. Knows stdin and signals; knows nothing of what runs meanwhile.
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
"""Seconds until a signal is noticed. It is never raised as an exception: half a start could not be undone."""


class StopRequest:
    """Whether to stop. Once it is there it stays."""

    def __init__(self, *signals: signal.Signals, leashed: bool) -> None:
        self.is_there = False
        self._watched = [sys.stdin.fileno()] if leashed else []
        for number in signals:
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> bool:
        """Return True as soon as we should stop, False when the seconds are over."""
        deadline = time.monotonic() + seconds
        while not self.is_there and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(self._watched, [], [], min(left, LOOK_EVERY))
            if ready and os.read(ready[0], 4096) == b"":  # what is written to us is ignored
                self.is_there = True
        return self.is_there

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.is_there = True


def leave_the_terminal() -> None:
    """Be no more in the terminal's session: its Ctrl-C is for our parent, whose end we notice."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(PermissionError):  # a group's leader, as a shell with job control makes us, must stay
        os.setsid()
