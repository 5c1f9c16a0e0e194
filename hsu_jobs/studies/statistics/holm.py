"""How are p-values adjusted if nothing is known of what they have in common? By Holm's method."""

from __future__ import annotations

import numpy as np

from hsu_jobs.studies.statistics.intervals import Floats


def adjusted(p: Floats) -> Floats:
    """Holm 1979: the i-th smallest of m p-values times m − i + 1, never falling, at most 1. NaN is not counted.

    If all that are at most α are called differences, a false one is among them with a probability of at most α.
    """
    order = np.argsort(p)  # NaN last
    m = int(np.isfinite(p).sum())
    found = np.full_like(p, np.nan)
    factors = m - np.arange(m)
    found[order[:m]] = np.minimum(1, np.maximum.accumulate(factors * p[order[:m]]))
    return found
