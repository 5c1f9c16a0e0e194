"""What do the values of one cell (one arm at one setting, over its seeds) say?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import TOLERANCE, Floats, Interval

COCHRAN = 25
"""A t interval wants more than 25 G² values of skewness G. Cochran 1977, Sampling Techniques."""
NOTICEABLE = 1.96
"""Standard errors from 0, beyond which a skewness is seldom (about 5 %) that of normal values."""


class Cell(NamedTuple):
    """Values in the unit of the metric. What cannot be said of so few is None."""

    n: int
    missing: int
    """Members without a usable value: None, NaN, infinite, or beyond 10¹⁰⁰."""
    mean: float | None
    sd: float | None
    """The standard deviation, which divides by n − 1; from two values on."""
    interval: Interval | None
    """Student's t interval of the mean; from two values on."""
    skewness: float | None
    """G₁ of Joanes and Gill 1998, which has no unit: 0 of symmetric values, 2 expected of exponential ones; from three
    values on, unless all are equal."""

    @property
    def is_skewed(self) -> bool:
        """Whether a t interval likely contains the mean less often than it says.

        The skewness is noticeable beside that of as many normal values, and there are fewer values than Cochran's rule
        asks for. Of five values even exponential ones seldom look skewed: False does not say that they are not.
        """
        if self.skewness is None:
            return False
        noticeable = abs(self.skewness) > NOTICEABLE * _standard_error_of_skewness(self.n)
        return noticeable and self.n <= COCHRAN * self.skewness**2


def describe(values: Iterable[float | None], *, level: float = 0.95) -> Cell:
    """What a cell's values say, whatever their order. ValueError if `level` is not between 0 and 1."""
    intervals.checked_level(level)
    every = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    usable = np.sort(every[intervals.usable(every)])  # in one order, so that the last bit does not depend on it
    return _of_usable(usable, len(every) - len(usable), level)


def _of_usable(values: Floats, missing: int, level: float) -> Cell:
    n = len(values)
    if n == 0:
        return Cell(0, missing, None, None, None, None)
    mean = float(values.mean())
    if n == 1:
        return Cell(1, missing, mean, None, None, None)
    sd = 0.0 if _are_equal(values) else float(values.std(ddof=1))
    return Cell(n, missing, mean, sd, intervals.of_mean(mean, sd, n, level=level), _skewness(values, sd))


def _are_equal(values: Floats) -> bool:
    return bool(np.ptp(values) <= TOLERANCE * np.abs(values).max())


def _skewness(values: Floats, sd: float) -> float | None:
    n = len(values)
    if n < 3 or sd == 0:
        return None
    scaled = (values - values.mean()) / sd
    return float(n / ((n - 1) * (n - 2)) * (scaled**3).sum())


def _standard_error_of_skewness(n: int) -> float:
    """Of G₁ of n ≥ 3 normal values. Joanes and Gill 1998."""
    return math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
