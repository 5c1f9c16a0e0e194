"""What is the learning rate at a step? A pure function of progress, so that resuming needs no state."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from hsu_core import spec


def rate(schedule: spec.Schedule, base: float, *, step: int, total: int) -> float:
    """The learning rate of the update that follows `step` of `total` updates."""
    return base * FACTORS[schedule.kind](schedule, step, total)


def _constant(_schedule: spec.Constant, _step: int, _total: int) -> float:
    return 1.0


def _step(schedule: spec.StepDecay, step: int, total: int) -> float:
    """`gamma` to the power of the number of milestones reached; linear from 0 before, during the warm-up."""
    progress = step / total
    if progress < schedule.warmup:
        return progress / schedule.warmup
    return schedule.gamma ** bisect_right(schedule.milestones, progress)


def _multi_step(schedule: spec.MultiStep, step: int, _total: int) -> float:
    """As `_step`, in steps."""
    if step < schedule.warmup:
        return step / schedule.warmup
    return schedule.gamma ** bisect_right(schedule.milestones, step)


def _cosine(schedule: spec.Cosine, step: int, total: int) -> float:
    """Linear from 0 to 1 during the warm-up, then (1 + cos πp)/2 with p from 0 to 1."""
    progress = step / total
    if progress < schedule.warmup:
        return progress / schedule.warmup
    return (1 + math.cos(math.pi * (progress - schedule.warmup) / (1 - schedule.warmup))) / 2


FACTORS: dict[str, Callable[[Any, int, int], float]] = {
    "constant": _constant,
    "step": _step,
    "multi_step": _multi_step,
    "cosine": _cosine,
}
