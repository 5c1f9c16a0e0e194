"""How often would chance alone give such differences? Pairs are exchanged: the signs of the differences are flipped.

If an arm does nothing, then within a pair its value and the baseline's could as well be exchanged, which flips the sign
of their difference (Fisher 1935, §21). One sign a seed, shared by all contrasts: so the flips keep what the contrasts
have in common, as they share the baseline.

The statistic of a contrast is u = |Σ d| / √(Σ d²). Flips leave Σ d² as it is, so for n pairs Student's |t| =
u √(n − 1) / √(n − u²) grows with u: p-values of one contrast, and of several with equally many pairs, are those of t.
For unequal numbers u is the better scale: its variance over the flips is 1 and it is at most √n, while t of two pairs
may be huge and hide every other contrast. Nor is it infinite where all differences are equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hsu_jobs.studies.statistics.intervals import TOLERANCE, Array, Floats

EXACT_UP_TO = 16
"""Seeds: up to here all 2ⁿ flips are tried (32,768, as a flip and its mirror image have the same statistics)."""
SAMPLED = 19_999
"""Flips drawn for more seeds: where p is 0.05, its standard error is then 0.0015."""
AT_ONCE = 512
"""Flips in one matrix product. So small a product stays in the cache and on one thread: with 4096, 20 arms and 50 seeds
took 80 ms instead of 15 beside other work, as the product's threads waited for each other."""
LEAST_PAIRS = 2
"""A contrast with fewer is not tested, and is no part of the family."""


class Flipped(NamedTuple):
    """P-values, two-sided, one a contrast; NaN of those with fewer than two pairs."""

    p: Floats
    """Of the contrast alone. Exact: the share of all flips with at least the u seen. Sampled: (b + 1) / (m + 1), b of m
    (Phipson and Smyth 2010)."""
    p_max_t: Floats
    """Adjusted for all contrasts by the step-down maximum of u, Westfall and Young's maxT (1993), with these flips.
    Never below `p`. Exact where, without effects, all differences of a seed together are symmetric about 0."""
    is_exact: bool
    flips: int
    """How many were tried, or drawn."""


def p_values(differences: Floats, *, seed: int) -> Flipped:
    """Test rows of differences, (contrasts, seeds), NaN where a pair is missing. `seed` is for flips that are drawn."""
    is_tested = np.isfinite(differences).sum(axis=1) >= LEAST_PAIRS
    p, p_max_t = np.full((2, len(differences)), np.nan)
    tested = differences[is_tested]
    tested = tested[:, np.isfinite(tested).any(axis=0)]
    is_exact, flips = _plan(tested.shape[1])
    if len(tested):
        reached, reached_by_max = _counts(tested, _signs(tested.shape[1], seed))
        more = 0 if is_exact else 1  # the differences as they are count as one of the flips drawn
        p[is_tested] = (reached + more) / (flips + more)
        p_max_t[is_tested] = (reached_by_max + more) / (flips + more)
    return Flipped(p, p_max_t, is_exact, flips)


def _plan(seeds: int) -> tuple[bool, int]:
    """Whether all flips are tried, and how many flips that, or the sample, is."""
    return (True, 2 ** max(seeds - 1, 0)) if seeds <= EXACT_UP_TO else (False, SAMPLED)


def _signs(seeds: int, seed: int) -> Iterator[Floats]:
    """Flips in pieces: (at most `AT_ONCE`, seeds), each 1 or −1. All of them with the first sign fixed, or a sample."""
    is_exact, flips = _plan(seeds)
    random = np.random.default_rng(seed)
    for first in range(0, flips, AT_ONCE):
        count = min(AT_ONCE, flips - first)
        if is_exact:
            bits: Array = (np.arange(first, first + count)[:, None] >> np.arange(seeds)) & 1
        else:
            octets = random.integers(0, 256, size=(count, -(-seeds // 8)), dtype=np.uint8)
            bits = np.unpackbits(octets, axis=1, count=seeds)
        yield np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


def _counts(differences: Floats, every: Iterator[Floats]) -> tuple[Array, Array]:
    """Of each contrast: how many flips reach its u, and in how many the maximum does, of it and all of lower u."""
    scaled = _scaled(np.nan_to_num(differences))
    seen = np.abs(scaled.sum(axis=1))
    order = np.argsort(-seen, kind="stable")
    scaled, reach = scaled[order], seen[order, None] * (1 - TOLERANCE)
    reached, by_max = np.zeros((2, len(order)), dtype=np.int64)
    for signs in every:
        u = np.abs(scaled @ signs.T)
        reached += np.count_nonzero(u >= reach, axis=1)
        np.maximum.accumulate(u[::-1], axis=0, out=u[::-1])  # the greatest of this and of all below
        by_max += np.count_nonzero(u >= reach, axis=1)
    back = np.argsort(order)
    return reached[back], np.maximum.accumulate(by_max)[back]


def _scaled(differences: Floats) -> Floats:
    """Rows whose squares sum to 1, or to 0 where all are 0. Divided by its greatest first, no square vanishes."""
    greatest = np.abs(differences).max(axis=1, keepdims=True)
    rows = differences / np.where(greatest > 0, greatest, 1)
    norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.where(norms > 0, norms, 1))
