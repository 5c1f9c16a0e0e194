"""Between which values is a mean, or a share, at a stated confidence?

Knows numbers only. Like all of this room it takes distributions from `scipy.special`, whose import takes a third
of that of `scipy.stats` or less; tests compare with `scipy.stats`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

Floats = NDArray[np.float64]
Array = NDArray[Any]

TOLERANCE = 1e-9
"""Relative: numbers that differ by less are equal, as 0.3 and 0.1 + 0.2 are."""
GREATEST = 1e100
"""A greater magnitude counts as missing, like NaN and infinities: the run has diverged, and its square may overflow."""


class Interval(NamedTuple):
    """Two ends, in the unit of what is estimated."""

    low: float
    high: float
    level: float
    """The confidence, between 0 and 1: how often such intervals contain the true value if their assumptions hold."""


def usable(values: Floats) -> NDArray[np.bool_]:
    """Which values count; the others are missing."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & (np.abs(values) <= GREATEST)


def of_mean(mean: float, sd: float, n: int, *, level: float) -> Interval:
    """Student's t interval of a mean: mean ± t · sd / √n, with t of n − 1 degrees of freedom. Student 1908.

    `sd` divides by n − 1; n ≥ 2. Exact for normal values. Its width is 0 if all values are equal, which does not mean
    that the mean is known.
    """
    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return Interval(mean - half, mean + half, level)


def of_share(least: int, most: int, n: int, *, level: float) -> Interval:
    """The exact interval of a share, of which between `least` and `most` of n draws are seen. Clopper and Pearson 1934.

    With least = most it is theirs, which contains the true share at least as often as `level` says. Otherwise the draws
    between are counted against each end in turn, which keeps that.
    """
    tail = (1 - level) / 2
    low = float(betaincinv(least, n - least + 1, tail)) if least else 0.0
    high = float(betaincinv(most + 1, n - most, 1 - tail)) if most < n else 1.0
    return Interval(low, high, level)


def checked_level(level: float) -> float:
    """`level`, if it is a confidence; ValueError otherwise."""
    if not 0 < level < 1:
        raise ValueError(f"A level is between 0 and 1, as 0.95; this is {level}.")
    return level
