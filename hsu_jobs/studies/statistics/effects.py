"""How large is a difference, beside its own spread, and how often is it one for the better?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import Floats, Interval


class Improvement(NamedTuple):
    """How probable is it that with a new seed the arm is better than the baseline with the same seed?"""

    share: float
    """Of the pairs, those in which the arm is better, ties counted half. Not the probability of improvement of Agarwal
    et al. 2021, who compare each run of one arm with every run of the other."""
    interval: Interval
    """Clopper and Pearson's, which covers at least as often as it says; ties count against each end."""


class Effect(NamedTuple):
    """Sizes of the paired difference without a unit. None where undefined."""

    dz: float | None
    """Cohen's d of paired differences: mean / sd (Cohen 1988, §2.3.5); undefined if all differences are equal."""
    hedges_g: float | None
    """dz without its upward bias in small samples: times Γ(ν/2) / (√(ν/2) Γ((ν − 1)/2)), ν = n − 1 (Hedges
    1981); undefined for two pairs."""
    improvement: Improvement | None
    """Undefined without a pair."""


def effect(differences: Floats, sd: float | None, *, higher_is_better: bool, level: float) -> Effect:
    """Of the differences of n pairs (arm − baseline), with their standard deviation. `dz` keeps their sign."""
    n = len(differences)
    improvement = _improvement(differences if higher_is_better else -differences, level) if n else None
    if not sd:
        return Effect(None, None, improvement)
    dz = float(differences.mean()) / sd
    return Effect(dz, dz * _correction(n - 1) if n > 2 else None, improvement)


def _correction(nu: int) -> float:
    return math.exp(float(gammaln(nu / 2)) - float(gammaln((nu - 1) / 2))) / math.sqrt(nu / 2)


def _improvement(gains: Floats, level: float) -> Improvement:
    better, worse = int(np.sum(gains > 0)), int(np.sum(gains < 0))
    n = len(gains)
    return Improvement((better + (n - worse)) / (2 * n), intervals.of_share(better, n - worse, n, level=level))
