"""Which device does the work, and does it exist? The devices given to a training are compared with what torch finds.

Knows torch's devices and the names of processors. Knows no slots and no workers.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch

from hsu_core.outcomes import DeviceUsed


def missing(gpus: int) -> str | None:
    """Why `gpus` CUDA devices cannot be used; None if they can, or if none is requested."""
    if not gpus:
        return None
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found >= gpus:
        return None
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"expected {gpus} CUDA devices, found {found} (CUDA_VISIBLE_DEVICES is {named!r}, {_build()})"


def used(device: torch.device, *, count: int = 1) -> DeviceUsed:
    """The device by name, with the number of CPU threads of this process."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return DeviceUsed(device.type, name, count, torch.get_num_threads())


def _build() -> str:
    return f"torch {torch.__version__} for CUDA {torch.version.cuda or 'none'}"


def _processor() -> str:
    try:
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()
