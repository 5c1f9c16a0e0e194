"""Trainings of a few steps on digits, what they report, and how they are cut short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from hsu_core import spec
from hsu_core.outcomes import Series, Stopped
from hsu_core.training import checkpoint
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

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


def assert_resumes_bit_for_bit(chosen: spec.TrainingSpec, folder: Path, *, stopped_at: int) -> None:
    """A run that was stopped there ends with the curves and the last state of one that was not."""
    whole, report = recorder()
    train(chosen, callbacks=Callbacks(report=report, checkpoint_dir=folder / "whole"))
    pieces: Curves = {}
    there = folder / "pieces"
    stopping = Callbacks(report=pieces.__setitem__, should_stop=stop_after(stopped_at), checkpoint_dir=there)
    assert train(chosen, callbacks=stopping) == Stopped(stopped_at)
    going_on = Callbacks(report=pieces.__setitem__, checkpoint_dir=there)
    train(chosen, resume_from=checkpoint.latest(there), callbacks=going_on)
    assert pieces == whole
    one, other = (load_file(latest) for name in ("whole", "pieces") if (latest := checkpoint.latest(folder / name)))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
