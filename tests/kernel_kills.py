"""Who makes the kernel kill for want of memory does so while nobody asks why a runner was killed.

The kernel counts those kills for a whole machine, and a killed runner's end is told by that count.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _locked(how: int) -> Iterator[None]:
    place = os.open(tempfile.gettempdir(), os.O_RDONLY)  # what every process of every run finds, and nobody removes
    try:
        fcntl.flock(place, how)
        yield
    finally:
        os.close(place)


def none_meanwhile() -> Iterator[None]:
    """No test makes the kernel kill; others may be here too."""
    with _locked(fcntl.LOCK_SH):
        yield


def alone() -> Iterator[None]:
    """Nobody else is here."""
    with _locked(fcntl.LOCK_EX):
        yield
