"""What can this machine train on? One slot a GPU, or one for the CPU; found without touching CUDA."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple


class Slot(NamedTuple):
    """Room for one job."""

    device: str
    """`cuda:0`, `cuda:1`, … or `cpu`."""
    visible: str
    """CUDA_VISIBLE_DEVICES of a runner in this slot."""


def slots(count: int | None) -> list[Slot]:
    """The machine's slots; `count` of them, shared out over the GPUs in turn, if a number is set."""
    gpus = visible_gpus()
    if not gpus:
        return [Slot("cpu", "")] * (count or 1)
    return [Slot(f"cuda:{gpus[index % len(gpus)]}", gpus[index % len(gpus)]) for index in range(count or len(gpus))]


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
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()
