"""Did a process run out of memory? Decided by an error's message, or by the kernel's count of kills.

Knows errors, control groups and the kernel's counters. Knows no torch and no jobs, and processes only by their number.
"""

from __future__ import annotations

import errno
import re
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

EXIT_STATUS = errno.ENOMEM
"""Exit status of our processes that ran out of memory and could report nothing else."""

WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "failed to allocate",
    "std::bad_alloc",
    "status_alloc_failed",
    "storage size calculation overflowed",
)
"""Messages of torch and its libraries; on a CPU torch raises a plain RuntimeError."""

LIKELIER = 500
"""Added to a runner's `oom_score_adj`, as if it used an additional half of the machine's memory. So the kernel kills
the process that trains, and not its supervisor, the database or the API."""

WINDOW = 10.0
"""Seconds between two readings of a counter; the older of the last two counts. The kernel counts when it kills, and it
takes seconds to end a large process."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, means that memory ran out."""
    if error is None:
        return False
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS):
        return True
    return is_out_of_memory(error.__cause__)


def make_likelier_victim(pid: int) -> None:
    """Make the kernel kill this process, and those that it starts from now on, before others. Needs no privileges."""
    adjustment = Path(f"/proc/{pid}/oom_score_adj")
    with suppress(OSError, ValueError):
        before = int(adjustment.read_text(encoding="ascii"))
        adjustment.write_text(str(min(1000, before + LIKELIER)), encoding="ascii")


class Reading(NamedTuple):
    """How many processes the kernel had killed because memory ran out."""

    at: float
    counter: Path
    kills: int


class OomKills:
    """Whether the kernel killed for lack of memory in a process's control group, or else on the machine."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._readings: deque[Reading] = deque(maxlen=2)
        self.look()

    def look(self) -> None:
        """Read the counter if that is due, while the process lives."""
        now = time.monotonic()
        if self._readings and now - self._readings[-1].at < WINDOW:
            return
        for counter in _counters(self._pid):
            if (kills := _kills(counter)) is not None:
                self._readings.append(Reading(now, counter, kills))
                return

    def begin(self) -> None:
        """Count from now on."""
        self._readings.clear()
        self.look()

    @property
    def rose(self) -> bool:
        """Whether there was a kill recently. False if the group is gone with its last process: then it is not known."""
        if not self._readings:
            return False
        before = self._readings[0]
        kills = _kills(before.counter)
        return kills is not None and kills > before.kills


def _counters(pid: int) -> list[Path]:
    """The counter files of the process's control group, version 2 or 1, then of the machine, which containers share."""
    groups = Path("/sys/fs/cgroup")
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(groups / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            found += [groups / "memory" / path.lstrip("/") / "memory.oom_control"]
            found += [groups / "memory" / "memory.oom_control"]  # in a container that does not see the groups above it
    return [*found, Path("/proc/vmstat")]


def _kills(counter: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", counter.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
