"""Which values stand beside each other? Those of one seed: they began with the same weights and saw the same data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import Floats

Values = Mapping[str, Mapping[int, float | None]]
"""Of each arm, the value of each seed. None, NaN and infinities are missing, as are seeds that other arms name."""


class Members(NamedTuple):
    """All values of a study, the baseline's among them."""

    arms: tuple[str, ...]
    """In the order given, without the baseline."""
    seeds: tuple[int, ...]
    """All that any arm names, ascending."""
    baseline: Floats
    """(seeds,); NaN where missing."""
    values: Floats
    """(arms, seeds); NaN where missing."""

    @property
    def differences(self) -> Floats:
        """Arm − baseline, (arms, seeds); NaN where one of the two is missing."""
        return self.values - self.baseline


def members(values: Values, baseline: str) -> Members:
    """The values as a matrix. ValueError if no arm has the baseline's name."""
    if baseline not in values:
        raise ValueError(f"No arm is called {baseline!r}; there are {', '.join(values)}.")
    seeds = tuple(sorted(set().union(*values.values())))
    arms = tuple(arm for arm in values if arm != baseline)
    rows = np.array([_row(values[arm], seeds) for arm in (baseline, *arms)]).reshape(1 + len(arms), len(seeds))
    rows[~intervals.usable(rows)] = math.nan
    return Members(arms, seeds, rows[0], rows[1:])


def _row(values: Mapping[int, float | None], seeds: tuple[int, ...]) -> list[float]:
    found = (values.get(seed) for seed in seeds)
    return [math.nan if value is None else value for value in found]
