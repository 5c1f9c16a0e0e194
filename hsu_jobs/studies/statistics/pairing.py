"""Which values stand beside each other? Those of one seed: they began with the same weights and saw the same data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import Floats

Values = Mapping[str, Mapping[int, float | None]]
"""Of each arm, the value of each seed. None, NaN and infinities are missing, as are seeds that other arms name."""


class Members(NamedTuple):
    """All values of a study, the baselines' beside those of the arms that are compared with them."""

    arms: tuple[str, ...]
    """In the order given, without baselines."""
    baselines: tuple[str, ...]
    """Of each arm, that with which it is compared."""
    seeds: tuple[int, ...]
    """All that any arm names, ascending."""
    baseline: Floats
    """(arms, seeds); NaN where missing."""
    values: Floats
    """(arms, seeds); NaN where missing."""

    @property
    def differences(self) -> Floats:
        """Arm − baseline, (arms, seeds); NaN where one of the two is missing."""
        return self.values - self.baseline


def members(values: Values, baseline: str | Mapping[str, str]) -> Members:
    """The values as matrices. `baseline`: of all other arms, or of each arm. ValueError if there is no such arm."""
    against = baseline if isinstance(baseline, Mapping) else _of_all_others(values, baseline)
    if unknown := sorted({*against, *against.values()} - set(values)):
        raise ValueError(f"No arm is called {unknown[0]!r}; there are {', '.join(values)}.")
    seeds = tuple(sorted(set().union(*values.values())))
    return Members(
        tuple(against),
        tuple(against.values()),
        seeds,
        _rows(values, against.values(), seeds),
        _rows(values, against, seeds),
    )


def _of_all_others(values: Values, baseline: str) -> dict[str, str]:
    if baseline not in values:
        raise ValueError(f"No arm is called {baseline!r}; there are {', '.join(values)}.")
    return {arm: baseline for arm in values if arm != baseline}


def _rows(values: Values, arms: Collection[str], seeds: tuple[int, ...]) -> Floats:
    rows = np.array([_row(values[arm], seeds) for arm in arms]).reshape(len(arms), len(seeds))
    rows[~intervals.usable(rows)] = math.nan
    return rows


def _row(values: Mapping[int, float | None], seeds: tuple[int, ...]) -> list[float]:
    found = (values.get(seed) for seed in seeds)
    return [math.nan if value is None else value for value in found]
