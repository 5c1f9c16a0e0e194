"""How many of this machine's cores does a runner get, and how do its threads wait for each other?

Knows affinity, control groups and the variables that OpenMP reads when a process starts. Knows no torch and no jobs.
The share does not depend on whether the other runners are busy: with another number of threads sums round differently,
and a resumed job would not end bit for bit as if it had never stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SPINS = 10_000
"""How often libgomp, which torch's wheels contain, looks for work before a thread sleeps: about 10 µs. Its default of
300,000 keeps a core busy that another process needs; with 0 each of the many short waits of a small network costs a
system call (docs/performance.md, "Neighbours")."""

CGROUPS = Path("/sys/fs/cgroup")


def environment(slots: int) -> dict[str, str]:
    """Variables for each of `slots` runners that share this machine; existing ones are kept."""
    own = {"OMP_NUM_THREADS": str(share(slots))}
    if "OMP_WAIT_POLICY" not in os.environ:
        own |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)}
    return {name: value for name, value in own.items() if name not in os.environ}


def share(slots: int) -> int:
    """Cores of one of `slots` runners: at least 1, even with fewer cores than runners."""
    return max(1, cores() // slots)


def cores() -> int:
    """Cores that this process may use, by its affinity and by its control groups' quotas (rounded to whole cores)."""
    usable = _physical(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([usable, *(int(quota) for quota in quotas())]))


def quotas(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> Iterator[float]:
    """Processors that each control group of this process may keep busy, where it has a limit; versions 1 and 2."""
    for folder in _groups(cgroups, own):
        for quota, period in (_of_version_2(folder), _of_version_1(folder)):
            if quota > 0 < period:
                yield quota / period


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """The folders of this process's control groups and of those above them."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        folder = root / path.lstrip("/")
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _of_version_2(folder: Path) -> tuple[int, int]:
    match _words(folder / "cpu.max"):
        case [quota, period] if quota != "max":
            return int(quota), int(period)
        case _:
            return 0, 0


def _of_version_1(folder: Path) -> tuple[int, int]:
    match _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us"):
        case [quota], [period]:
            return int(quota), int(period)
        case _:
            return 0, 0


def _physical(processors: Iterable[int]) -> int:
    """Cores behind these processors: two threads of one core are one, as torch itself counts."""
    return len({_siblings(processor) for processor in processors})


def _siblings(processor: int) -> tuple[str, ...]:
    there = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    return tuple(_words(there)) or (str(processor),)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
