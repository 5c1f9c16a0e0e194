"""What does the service answer with? Jobs and curves, as Python holds them. Knows nothing of HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Job = dict[str, Any]
"""A job as the service shows it: id, name, state, waiting, step, result, failure, attempts and more."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a job never leaves."""


class Curve(NamedTuple):
    """One measured quantity over steps."""

    layer: str | None
    """None for what is measured of the whole model."""
    measure: str
    steps: list[int]
    values: list[float]
    random: float | None = None
    """What uniformly random points of the layer's shape would have."""
    optimum: float | None = None
    """What the best ones have, where that is proven."""
    times: list[float] | None = None
    """When each value was measured, in seconds since the epoch; if asked for."""
    job: int | None = None
    min: list[float] | None = None
    """Of a chart: the least value in each bucket of steps, NaN left out. `values` are the last ones."""
    max: list[float] | None = None
    counts: list[int] | None = None
    """Of a chart: values in each bucket, and how many of them are NaN."""
    nans: list[int] | None = None

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> Curve:
        """A curve as the service tells it: what JSON's numbers cannot hold are the strings NaN, Infinity, -Infinity."""
        known = {name: view[name] for name in cls._fields if name in view}
        numbers = {name: known[name] for name in ("values", "min", "max") if known.get(name) is not None}
        return cls(**known | {name: [float(each) for each in column] for name, column in numbers.items()})


def depth(curve: Curve) -> tuple[bool, list[tuple[int, str]], str]:
    """A key that sorts curves by the depth of their layers: `hidden2` before `hidden10`, the classifier last."""
    pieces = re.findall(r"\d+|\D+", curve.layer or "")
    numbered = [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]
    return curve.layer == "classifier", numbered, curve.measure
