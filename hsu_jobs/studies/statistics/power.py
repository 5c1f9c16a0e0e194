"""What can n pairs show, and what can they not?

Two limits. A sign-flip test of n pairs has no p-value below 2¹⁻ⁿ, whatever the differences. And a difference must be
large beside its spread to be shown with some probability, the power: that is computed for the paired t-test of normal
differences, at α divided by the number of contrasts. Simulated, the sign-flip test with the joint maximum has
about that power too, from seven pairs on (docs/statistics.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.special import nctdtr, nctdtrinc, ndtr, stdtrit

MOST_PAIRS = 1_000_000
"""More are not counted."""
POWER = 0.8


class Reach(NamedTuple):
    """What a contrast's number of pairs can show."""

    smallest_p: float | None
    """That its sign-flip test can give, 2¹⁻ⁿ; None without a pair."""
    fewest_pairs: int
    """With which the smallest p is at most α: by the joint maximum, however many the contrasts are."""
    fewest_pairs_holm: int
    """The same for Holm's method with the study's contrasts."""
    pairs_needed: int | None
    """With which a difference as large as the one seen, with the spread seen, would be shown with a probability of 0.8.
    None if unbounded (the mean difference is 0), above a million, or not known (no spread was seen). A rough guide: it
    takes the difference seen for the true one."""
    detectable: float | None
    """The smallest true difference that this number of pairs shows with a probability of 0.8, at the spread seen, in
    the unit of the metric. None if no spread was seen, or with so few pairs that at most one pattern of signs reaches
    α."""


def reach(n: int, *, dz: float | None, sd: float | None, contrasts: int, alpha: float) -> Reach:
    """Of n pairs with the effect `dz` (see `pairs_needed`) and standard deviation `sd`, among so many contrasts."""
    size = detectable_dz(n, contrasts=contrasts, alpha=alpha)
    return Reach(
        smallest_p=smallest_p(n) if n else None,
        fewest_pairs=fewest_pairs(alpha=alpha),
        fewest_pairs_holm=fewest_pairs(contrasts, alpha=alpha),
        pairs_needed=None if dz is None else pairs_needed(dz, contrasts=contrasts, alpha=alpha),
        detectable=None if size is None or not sd else size * sd,
    )


def smallest_p(n: int) -> float:
    """The smallest two-sided p-value of a sign-flip test of n ≥ 1 pairs: 2 of 2ⁿ flips."""
    return 2.0 ** (1 - n)


def fewest_pairs(contrasts: int = 1, *, alpha: float = 0.05) -> int:
    """The fewest pairs with which Holm's method can show a difference among so many contrasts: contrasts · 2¹⁻ⁿ ≤ α."""
    return max(1, math.ceil(1 + math.log2(contrasts / alpha)))


def power(dz: float, n: int, *, alpha: float = 0.05) -> float:
    """How probably a two-sided paired t-test of n ≥ 2 pairs gives p ≤ α, if mean / sd of the differences is truly dz.

    From the noncentral t distribution with n − 1 degrees of freedom and noncentrality dz √n. Cohen 1988.
    """
    df, noncentrality = n - 1, abs(dz) * math.sqrt(n)
    if noncentrality == 0:
        return alpha
    critical = float(stdtrit(df, 1 - alpha / 2))
    upper = 1 - _noncentral_t(df, noncentrality, critical)
    return (
        upper if noncentrality > 5 else upper + _noncentral_t(df, noncentrality, -critical)
    )  # else below Φ(−5) = 3e-7


def _noncentral_t(df: int, noncentrality: float, t: float) -> float:
    """P(T ≤ t). scipy 1.17 gives NaN for some values; there the normal approximation, Abramowitz and Stegun 26.7.10."""
    found = float(nctdtr(df, noncentrality, t))
    if math.isfinite(found):
        return found
    return float(ndtr((t * (1 - 1 / (4 * df)) - noncentrality) / math.sqrt(1 + t**2 / (2 * df))))


def pairs_needed(dz: float, *, contrasts: int = 1, alpha: float = 0.05) -> int | None:
    """The fewest pairs with which the power is 0.8, at α / contrasts. None if dz is 0 or they are more than a million.

    Never fewer than those with which two patterns of signs reach α: with one alone the test's power is below t's.
    """
    if dz == 0:
        return None
    low, high = fewest_pairs(2, alpha=alpha), MOST_PAIRS
    if power(dz, high, alpha=alpha / contrasts) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(dz, middle, alpha=alpha / contrasts) >= POWER else (middle + 1, high)
    return low


def detectable_dz(n: int, *, contrasts: int = 1, alpha: float = 0.05) -> float | None:
    """The mean / sd of differences that n pairs show with a power of 0.8, at α / contrasts.

    None with fewer pairs than those with which two patterns of signs reach α.
    """
    if n < fewest_pairs(2, alpha=alpha):
        return None
    critical = float(stdtrit(n - 1, 1 - alpha / contrasts / 2))
    return float(nctdtrinc(n - 1, 1 - POWER, critical)) / math.sqrt(n)
