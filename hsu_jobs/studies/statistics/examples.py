"""Would new test examples show a difference? That is another question than whether new seeds would.

Networks that are trained already are asked the same test examples. What is drawn here are the examples, and the
networks stay as they are; so even with the networks of several seeds nothing is said of seeds that were not trained.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from hsu_jobs.studies.statistics import intervals
from hsu_jobs.studies.statistics.intervals import Array, Interval

RESAMPLES = 9_999
LEAST_P = 1e-12
"""That the test of several networks tells: what is below is lost in rounding."""


class ExamplesCompared(NamedTuple):
    """Two arms' networks on the same examples; accuracies are shares, from 0 to 1."""

    examples: int
    networks: int
    """Pairs of networks, one a seed."""
    accuracy: float
    accuracy_of_other: float
    difference: float
    """The first accuracy minus the other, each a mean over the networks."""
    interval: Interval
    """Of the difference, by the percentile bootstrap over examples (Efron and Tibshirani 1993): an example is
    drawn with the answers of all networks."""
    only_first_right: int
    """Answers that are right where those of the other network of its pair are wrong: of all networks together."""
    only_other_right: int
    p: float
    """Two-sided. Of one pair of networks: McNemar's exact test. Of several: the same idea, exact too (see `swaps`)."""


def compare_examples(
    right: Array, right_of_other: Array, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> ExamplesCompared:
    """Compare which examples were classified right, booleans (examples,) or (networks, examples) in the same order.

    Row i of both is of the same seed. `seed` is for the resamples. ValueError if the shapes differ or are empty.
    """
    intervals.checked_level(level)
    first, other = (np.atleast_2d(np.asarray(each, dtype=bool)) for each in (right, right_of_other))
    if first.shape != other.shape or first.ndim != 2 or first.size == 0:
        raise ValueError(f"The same examples of as many networks are compared, not {first.shape} and {other.shape}.")
    networks, examples = first.shape
    gains = first.sum(axis=0) - other.sum(axis=0)
    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    return ExamplesCompared(
        examples=examples,
        networks=networks,
        accuracy=float(first.mean()),
        accuracy_of_other=float(other.mean()),
        difference=float(gains.sum()) / first.size,
        interval=_bootstrap(gains, networks, level=level, resamples=resamples, seed=seed),
        only_first_right=only_first,
        only_other_right=only_other,
        p=mcnemar(only_first, only_other) if networks == 1 else swaps(gains),
    )


def mcnemar(only_first_right: int, only_other_right: int) -> float:
    """McNemar's test with the exact binomial distribution of the examples on which two networks disagree; two-sided."""
    n = only_first_right + only_other_right
    return min(1.0, 2 * float(bdtr(min(only_first_right, only_other_right), n, 0.5))) if n else 1.0


def swaps(gains: NDArray[np.int_]) -> float:
    """How often do swaps of the two arms give such a sum of gains? Two-sided and exact, at least `LEAST_P`.

    The gain of an example is how many more networks of the first arm than of the other have it right. If the arms are
    alike, then on each example all answers of one arm could be exchanged with all of the other, which flips the sign of
    its gain. An example is one draw, however many networks answered it: to add up the counts of several McNemar's tests
    would take their answers for independent. The sum's distribution is that of its characteristic function ∏ cos(g t).
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    seen, most = abs(int(gains.sum())), int((sizes * counts).sum())
    if seen == 0:
        return 1.0
    length = 2 * (most + 1)
    t = 2 * math.pi * np.arange(length // 2 + 1) / length
    characteristic = np.ones_like(t)
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * t) ** int(count)
    probabilities = np.fft.irfft(characteristic, length)
    return float(np.clip(2 * probabilities[seen : most + 1].sum(), LEAST_P, 1.0))


def _bootstrap(gains: Array, networks: int, *, level: float, resamples: int, seed: int) -> Interval:
    """Of the mean gain. Examples of one gain are alike, so it is enough to draw how many there are of each."""
    kinds, counts = np.unique(gains, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(gains), counts / len(gains), size=resamples)
    means = drawn @ kinds / (len(gains) * networks)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
