"""Which arms are better over several data sets? Their ranks are compared, as accuracies of different data are not.

A few lines, checked in tests against `scipy.stats` and the tables and the example of Demšar 2006, Statistical
Comparisons of Classifiers over Multiple Data Sets, JMLR 7; its §3.2.2 has all of this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, fdtrc, ndtr

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import Floats


class Ranking(NamedTuple):
    """What a critical-difference diagram shows, and the test that goes before it."""

    arms: tuple[str, ...]
    """Best average rank first."""
    average_ranks: tuple[float, ...]
    """1 is best; arms with equal values share the average of their ranks."""
    datasets: tuple[str, ...]
    """That were ranked."""
    left_out: tuple[str, ...]
    """Data sets in which an arm has no usable value: ranks need all."""
    chi_square: float
    """Friedman's, corrected for ties (Demšar's is without)."""
    p: float
    """Of chi-square with k − 1 degrees of freedom, k arms: too high with few data sets."""
    p_iman_davenport: float
    """Of (N − 1) χ² / (N (k − 1) − χ²), F with k − 1 and (k − 1)(N − 1) degrees of freedom, N data sets: what Demšar
    recommends. If all data sets agree, F is infinite, and this is the exact probability of that, (k!)¹⁻ᴺ."""
    critical_difference: float
    """Nemenyi's, q √(k (k + 1) / 6N): arms whose average ranks differ by less are not shown to differ."""
    groups: tuple[tuple[str, ...], ...]
    """Of two or more arms each, none shown to differ within a group: the bars of the diagram, the longest only."""
    level: float


def rank(values: Mapping[str, Mapping[str, float | None]], *, higher_is_better: bool, level: float = 0.95) -> Ranking:
    """Rank arms by data set: `values` has for each data set each arm's value, as its mean over seeds.

    ValueError with fewer than two arms, or two data sets that have all arms.
    """
    intervals.checked_level(level)
    arms = tuple(dict.fromkeys(arm for of_one in values.values() for arm in of_one))
    table = np.array([[_number(of_one.get(arm)) for arm in arms] for of_one in values.values()], dtype=np.float64)
    usable = intervals.usable(table.reshape(len(values), len(arms)))
    has_all = np.array([bool(row.all()) for row in usable], dtype=bool)
    if len(arms) < 2 or has_all.sum() < 2:
        raise ValueError("Ranks are compared of two arms or more, over two data sets or more that have all arms.")
    ranks = _ranks(-table[has_all] if higher_is_better else table[has_all])
    chi_square, p, p_f = friedman(ranks)
    average = ranks.mean(axis=0)
    difference = critical_difference(len(arms), len(ranks), level=level)
    order = np.argsort(average, kind="stable")
    return Ranking(
        arms=tuple(arms[place] for place in order),
        average_ranks=tuple(float(average[place]) for place in order),
        datasets=tuple(name for name, has in zip(values, has_all, strict=True) if has),
        left_out=tuple(name for name, has in zip(values, has_all, strict=True) if not has),
        chi_square=chi_square,
        p=p,
        p_iman_davenport=p_f,
        critical_difference=difference,
        groups=tuple(tuple(arms[place] for place in order[a:b]) for a, b in _groups(average[order], difference)),
        level=level,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _ranks(values: Floats) -> Floats:
    """Of each row, the lowest value first: 1 + how many are lower + half of how many others are equal."""
    lower = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return np.asarray(lower + (equal + 1) / 2, dtype=np.float64)


def friedman(ranks: Floats) -> tuple[float, float, float]:
    """Chi-square, its p-value and that of Iman and Davenport's F, of ranks (data sets, arms). Friedman 1937."""
    n, k = ranks.shape
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())  # n k (k² − 1) / 12 without ties
    if spread == 0:
        return 0.0, 1.0, 1.0
    chi_square = (k - 1) * n**2 * float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum()) / spread
    p = float(chdtrc(k - 1, chi_square))
    rest = n * (k - 1) - chi_square
    if rest <= intervals.TOLERANCE * chi_square:
        return chi_square, p, float(math.factorial(k)) ** (1 - n)
    return chi_square, p, float(fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi_square / rest))


def critical_difference(arms: int, datasets: int, *, level: float = 0.95) -> float:
    """Of average ranks, by Nemenyi's test; q is the quantile of the studentized range for infinite df, over √2."""
    return _range_quantile(arms, level) / math.sqrt(2) * math.sqrt(arms * (arms + 1) / (6 * datasets))


@lru_cache(maxsize=256)
def _range_quantile(k: int, level: float) -> float:
    """Which the range of k standard normal values is below with this probability."""
    low, high = 0.0, 40.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_probability(k, middle) < level else (low, middle)
    return (low + high) / 2


def _range_probability(k: int, q: float) -> float:
    """P(range ≤ q) = k ∫ φ(z) (Φ(z) − Φ(z − q))ᵏ⁻¹ dz, z the greatest of them."""
    z = np.linspace(-9, 9, 1801)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(k * np.trapezoid(density * (ndtr(z) - ndtr(z - q)) ** (k - 1), z))


def _groups(ranks: Floats, difference: float) -> list[tuple[int, int]]:
    """Of ascending ranks: the longest stretches [a, b) of two or more that span at most the critical difference."""
    found: list[tuple[int, int]] = []
    for a in range(len(ranks)):
        b = int(np.searchsorted(ranks, ranks[a] + difference, side="right"))
        if b - a > 1 and (not found or b > found[-1][1]):
            found.append((a, b))
    return found
