"""What does each cell cost, beside what it gives?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from hsu_jobs.studies.evidence import Evidence
from hsu_jobs.studies.members import Member
from hsu_jobs.studies.table import CostView, MetricView


class _Point(NamedTuple):
    """What a cell gives, where more is better, and what it costs."""

    gain: float
    cost: float

    def surpasses(self, other: _Point) -> bool:
        return self.gain >= other.gain and self.cost <= other.cost and self != other


def of(evidence: Evidence, primary: MetricView) -> list[CostView]:
    """The costs of each cell; those are efficient that no other one surpasses in the primary metric for less."""
    spent = [mean(run.gpu_seconds for run in evidence.done(number)) for number in evidence.cells]
    gained = [_gain(cell.mean, higher_is_better=primary.higher_is_better) for cell in primary.cells]
    points = [
        None if gain is None or cost is None else _Point(gain, cost) for gain, cost in zip(gained, spent, strict=True)
    ]
    known = [point for point in points if point]
    return [
        CostView(
            label=evidence.labels[number],
            gpu_seconds=cost,
            seconds_per_step=mean(map(_seconds_per_step, evidence.done(number))),
            is_efficient=point and not any(other.surpasses(point) for other in known),
        )
        for number, cost, point in zip(evidence.cells, spent, points, strict=True)
    ]


def _gain(value: float | None, *, higher_is_better: bool | None) -> float | None:
    if value is None or higher_is_better is None:
        return None
    return value if higher_is_better else -value


def _seconds_per_step(run: Member) -> float | None:
    pace = (run.result or {}).get("steps_per_second")
    return 1 / pace if isinstance(pace, int | float) and math.isfinite(pace) and pace > 0 else None


def mean(numbers: Iterable[float | None]) -> float | None:
    """The mean; None without numbers, or if one is not known."""
    every = list(numbers)
    known = [number for number in every if number is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(every) else None
