"""Which devices does this machine have, and which are free? Found without touching CUDA.

CUDA_VISIBLE_DEVICES is read as CUDA reads it, and compared with the driver's list where the driver's tool answers.
Otherwise the variable is trusted: a runner that gets a GPU and finds none ends as a fault of this machine.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hsu_jobs.settings import Settings

_log = logging.getLogger(__name__)
VARIABLE = "CUDA_VISIBLE_DEVICES"
NO_GPU = ("", "-1", "nodevfiles", "none", "void")
"""Values that mean that no GPU is to be used: Slurm's `NoDevFiles`, and those of the container runtime."""


class NoSuchGpu(Exception):
    """CUDA_VISIBLE_DEVICES names GPUs, and the driver has none of them."""


class Devices:
    """The machine's GPUs, each with one or more slots; without a GPU, slots on the CPU that count as devices."""

    def __init__(self, names: Iterable[str], *, slots_each: int) -> None:
        self.names = tuple(names)
        """`cuda:0`, `cuda:1`, … or `cpu:0`, `cpu:1`, …"""
        self.slots = len(self.names) * slots_each
        self._left = Counter(dict.fromkeys(self.names, slots_each))

    def free(self) -> tuple[str, ...]:
        """Devices with a free slot, the emptiest first."""
        return tuple(name for name in sorted(self.names, key=lambda name: -self._left[name]) if self._left[name])

    def take(self, names: Iterable[str]) -> None:
        """Occupy one slot of each."""
        self._left.subtract(names)

    def give_back(self, names: Iterable[str]) -> None:
        """Free one slot of each."""
        self._left.update(names)


def of_this_machine(settings: Settings) -> Devices:
    """The GPUs that this process may use, or the CPU.

    Raises `NoSuchGpu` where GPUs are named and the driver has none of them: otherwise jobs would run on the CPU of a
    machine that should have a GPU.
    """
    gpus = visible_gpus()
    if gpus:
        return Devices([f"cuda:{gpu}" for gpu in gpus], slots_each=settings.slots_per_gpu)
    if named(os.environ.get(VARIABLE, "")):
        raise NoSuchGpu(
            f"{VARIABLE}: expected GPUs that nvidia-smi -L lists, found {os.environ[VARIABLE]!r}; unset it to use "
            "every GPU, or set it to -1 to use the CPU"
        )
    return Devices([f"cpu:{index}" for index in range(settings.slots)], slots_each=1)


def visibility(devices: Iterable[str]) -> str:
    """CUDA_VISIBLE_DEVICES of a runner on these devices."""
    return ",".join(name.removeprefix("cuda:") for name in devices if name.startswith("cuda:"))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    variable = os.environ.get(VARIABLE)
    if variable is None:
        return _all_gpus()
    names = named(variable)
    if not names:
        if variable.strip().lower() not in NO_GPU:
            _log.warning("%s is %r, which names no GPU as CUDA reads it: jobs run on the CPU", VARIABLE, variable)
        return []
    driver = _ask_driver()
    if driver is None:
        _log.warning("the driver cannot be asked whether it has the GPUs of %s=%r", VARIABLE, variable)
        return names
    found = list(_until_unknown(names, driver))
    if len(found) < len(names):
        _log.warning("%s is %r, of which the driver has %s", VARIABLE, variable, ", ".join(found) or "none")
    return found


def named(variable: str) -> list[str]:
    """The GPUs that a value of CUDA_VISIBLE_DEVICES names, as CUDA reads it.

    Either indices, or identifiers that all begin with `GPU-` or all with `MIG-`. The first entry of another form ends
    the list; a repeated entry empties it. An index is the number at the start of an entry.
    """
    entries = [entry.strip() for entry in variable.split(",")]
    kind = next((prefix for prefix in ("GPU-", "MIG-") if entries[0].startswith(prefix)), None)
    found: list[str] = []
    for entry in entries:
        name = _index(entry) if kind is None else entry if entry.startswith(kind) else None
        if name is None:
            break
        found.append(name)
    return found if len(set(found)) == len(found) else []


def _index(entry: str) -> str | None:
    digits = re.match(r"\+?(\d+)", entry)
    return str(int(digits[1])) if digits else None


def _until_unknown(names: Sequence[str], driver: Driver) -> Iterator[str]:
    """The names before the first that the driver does not have: CUDA stops there. Identifiers may be shortened."""
    for name in names:
        alike = [there for there in driver.identifiers if there.startswith(name)]
        if name not in driver.indices and len(alike) != 1:
            return
        yield name


def _all_gpus() -> list[str]:
    if not Path("/dev/nvidiactl").exists():
        return []
    driver = _ask_driver()
    if driver is None:
        _log.warning("there is an NVIDIA driver, and nvidia-smi does not say which GPUs it has: jobs run on the CPU")
        return []
    return driver.indices


class Driver(NamedTuple):
    """What the driver lists."""

    indices: list[str]
    identifiers: list[str]
    """`GPU-…` of each GPU, and `MIG-…` of the parts of divided GPUs."""


def _ask_driver() -> Driver | None:
    """What the driver lists; None if it does not answer."""
    asked = ["nvidia-smi", "-L"]
    try:
        listed = subprocess.run(  # noqa: S603
            asked, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    indices = re.findall(r"^(?:GPU )?(\d+)\b", listed.stdout, re.MULTILINE)
    return Driver(indices, re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", listed.stdout))
