"""Trainings of a few steps on digits, what they report, and how they are cut short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from hsu_core import spec
from hsu_core.outcomes import Series

Curves = dict[int, Mapping[Series, float]]

TEST = Series(None, "test_accuracy")


def training(**changes: Any) -> spec.ClassificationSpec:
    return spec.ClassificationSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "small_cnn", "width": 4},
            "regularizer": {"kind": "mhe"},
            "schedule": {"kind": "constant"},
            "duration": {"steps": 12},
            "batch_size": 32,
            "record": {"every": 5, "measures": ["mhe_s2_half", "min_angle"]},
        }
        | changes
    )


def recorder() -> tuple[Curves, Callable[[int, Mapping[Series, float]], None]]:
    curves: Curves = {}

    def report(step: int, values: Mapping[Series, float]) -> None:
        assert step not in curves, "all values of a step come in one call"
        curves[step] = values

    return curves, report


def stop_after(updates: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) == updates


def die_after(updates: int) -> Callable[[], bool]:
    asked = count()

    def alive() -> bool:
        if next(asked) == updates:
            raise KeyboardInterrupt
        return False

    return alive
