"""Could the members that are missing change a result? They are given the worst and the best values that there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics.intervals import TOLERANCE
from hsu_jobs.studies.statistics.pairing import Members


class Bounds(NamedTuple):
    """Between which values the metric always is, as 0 and 1 for an accuracy."""

    low: float
    high: float


def extremes(members: Members, bounds: Bounds) -> tuple[Members, Members]:
    """The members with every missing value replaced: the differences as low as they can be, and as high.

    Low: missing members of arms are at `bounds.low` and those of the baseline at `bounds.high`; high: the reverse.
    Seeds are those that any arm names. Of one contrast alone: if both give the same finding, so do all values that the
    missing may have. For an arm is shown to be higher if at most a share α / 2 of the sets of its pairs have
    differences whose sum is 0 or less, and that share can only fall if a difference rises. For the joint maximum only
    these two are tried.
    ValueError if a value lies outside the bounds.
    """
    _check(members, bounds)
    return _filled(members, bounds.low, bounds.high), _filled(members, bounds.high, bounds.low)


def _filled(members: Members, arm: float, baseline: float) -> Members:
    return members._replace(
        values=np.where(np.isfinite(members.values), members.values, arm),
        baseline=np.where(np.isfinite(members.baseline), members.baseline, baseline),
    )


def _check(members: Members, bounds: Bounds) -> None:
    every = np.concatenate([members.baseline.ravel(), members.values.ravel()])
    every = every[np.isfinite(every)]
    slack = TOLERANCE * (bounds.high - bounds.low)
    if bounds.low >= bounds.high or np.any((every < bounds.low - slack) | (every > bounds.high + slack)):
        raise ValueError(f"Not all values are between the metric's bounds, {bounds.low} and {bounds.high}.")
