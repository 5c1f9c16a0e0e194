"""Holm's method, against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from hsu_jobs.studies.statistics import holm


@pytest.mark.parametrize("m", [1, 2, 7, 30])
def test_it_is_that_of_statsmodels(m: int) -> None:
    p = np.random.default_rng(m).random(m) ** 3
    assert holm.adjusted(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_ties_are_adjusted_alike() -> None:
    assert holm.adjusted(np.array([0.01, 0.01, 0.04])).tolist() == pytest.approx([0.03, 0.03, 0.04])


def test_nan_is_not_counted() -> None:
    found = holm.adjusted(np.array([np.nan, 0.02, np.nan, 0.01]))
    assert found[[1, 3]].tolist() == [0.02, 0.02]
    assert np.isnan(found[[0, 2]]).all()
