"""What does the service return? Jobs and curves as Python objects. Knows nothing of HTTP."""

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
    """None for a measure of the whole model."""
    measure: str
    steps: list[int]
    values: list[float]
    random: float | None = None
    """The value of uniformly random points of the layer's shape."""
    optimum: float | None = None
    """The value of the best points, where it is proven."""
    bound: float | None = None
    """Where no optimum is proven: a value that no points surpass."""
    bound_source: str | None = None
    """Who proved the bound."""
    times: list[float] | None = None
    """When each value was measured, in seconds since the epoch; only if requested."""
    job: int | None = None
    min: list[float] | None = None
    """In a chart: the smallest value in each bucket of steps, without NaN. `values` are the last ones."""
    max: list[float] | None = None
    counts: list[int] | None = None
    """In a chart: the number of values in each bucket, and how many of them are NaN."""
    nans: list[int] | None = None

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> Curve:
        """A curve from the service's JSON, in which NaN, Infinity and -Infinity are strings."""
        known = {name: view[name] for name in cls._fields if name in view}
        numbers = {name: known[name] for name in ("values", "min", "max") if known.get(name) is not None}
        return cls(**known | {name: [float(each) for each in column] for name, column in numbers.items()})


def depth(curve: Curve) -> tuple[bool, list[tuple[int, str]], str]:
    """A sort key for curves, by the depth of their layers: `hidden2` before `hidden10`, the classifier last."""
    pieces = re.findall(r"\d+|\D+", curve.layer or "")
    numbered = [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]
    return curve.layer == "classifier", numbered, curve.measure
