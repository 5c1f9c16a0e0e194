"""What can this machine train on, and what of it is free? Found without touching CUDA."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hsu_jobs.settings import Settings


class Devices:
    """The machine's GPUs, each with a slot or more; without a GPU, slots on the CPU that count as one each."""

    def __init__(self, names: Iterable[str], *, slots_each: int) -> None:
        self.names = tuple(names)
        """`cuda:0`, `cuda:1`, … or `cpu:0`, `cpu:1`, …"""
        self.slots = len(self.names) * slots_each
        self._left = Counter(dict.fromkeys(self.names, slots_each))

    def free(self) -> tuple[str, ...]:
        """Those with a free slot, the emptiest first."""
        return tuple(name for name in sorted(self.names, key=lambda name: -self._left[name]) if self._left[name])

    def take(self, names: Iterable[str]) -> None:
        """Use a slot of each."""
        self._left.subtract(names)

    def give_back(self, names: Iterable[str]) -> None:
        """The slots are free again."""
        self._left.update(names)


def of_this_machine(settings: Settings) -> Devices:
    """The GPUs that this process may use, or the CPU."""
    gpus = visible_gpus()
    if gpus:
        return Devices([f"cuda:{gpu}" for gpu in gpus], slots_each=settings.slots_per_gpu)
    return Devices([f"cpu:{index}" for index in range(settings.slots)], slots_each=1)


def visibility(devices: Iterable[str]) -> str:
    """CUDA_VISIBLE_DEVICES of a runner on these devices."""
    return ",".join(name.removeprefix("cuda:") for name in devices if name.startswith("cuda:"))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [gpu.strip() for gpu in allowed.split(",") if gpu.strip() not in ("", "-1")]
    if not Path("/dev/nvidiactl").exists():
        return []
    return _ask_driver()


def _ask_driver() -> list[str]:
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(asked, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()
