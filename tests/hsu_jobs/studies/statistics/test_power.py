"""What n pairs can show, against statsmodels and the figures of the plan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from hsu_jobs.studies.statistics import detectable_dz, fewest_pairs, holm, pairs_needed, power, sign_flips, smallest_p


@pytest.mark.parametrize("n", [2, 5, 6, 10, 20])
@pytest.mark.parametrize("dz", [0.0, 0.1, 0.5, 1.0])  # for more, statsmodels gives NaN: see `power._noncentral_t`
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
def test_power_is_that_of_statsmodels(n: int, dz: float, alpha: float) -> None:
    assert power(dz, n, alpha=alpha) == pytest.approx(TTestPower().power(dz, n, alpha), abs=1e-6)
    assert power(-dz, n, alpha=alpha) == power(dz, n, alpha=alpha)


@pytest.mark.parametrize(("contrasts", "n"), [(1, 6), (3, 7), (6, 8), (10, 9)])
def test_holm_needs_at_least_so_many_pairs(contrasts: int, n: int) -> None:
    assert fewest_pairs(contrasts) == n
    for pairs, reaches in ((n - 1, False), (n, True)):
        strongest = np.ones((contrasts, pairs)) + np.arange(pairs) / 100
        weakest = np.tile([1.0, -1.0], pairs)[:pairs]
        strongest[1:] = weakest
        p = sign_flips.p_values(strongest, seed=0).p
        assert p[0] == smallest_p(pairs)
        assert (holm.adjusted(p)[0] <= 0.05) is np.bool_(reaches)


@pytest.mark.parametrize("dz", [0.05, 0.3, 0.8, 1.1])
@pytest.mark.parametrize("contrasts", [1, 6])
def test_the_pairs_needed_are_the_fewest_with_that_power(dz: float, contrasts: int) -> None:
    n = pairs_needed(dz, contrasts=contrasts)
    assert n is not None
    assert power(dz, n, alpha=0.05 / contrasts) >= 0.8 > power(dz, n - 1, alpha=0.05 / contrasts)
    exact = TTestPower().solve_power(dz, alpha=0.05 / contrasts, power=0.8)
    assert n == math.ceil(exact)


def test_never_fewer_pairs_are_needed_than_those_with_which_two_patterns_of_signs_count() -> None:
    assert pairs_needed(100.0) == 7 == fewest_pairs(2)
    assert pairs_needed(1e30, contrasts=6) == 7


def test_what_no_number_of_pairs_would_show_is_none() -> None:
    assert pairs_needed(0.0) is None
    assert pairs_needed(1e-4) is None  # above a million


@pytest.mark.parametrize("n", [7, 10, 50, 5000])
@pytest.mark.parametrize("contrasts", [1, 6, 19])
def test_the_detectable_difference_has_that_power(n: int, contrasts: int) -> None:
    dz = detectable_dz(n, contrasts=contrasts)
    assert dz is not None
    assert power(dz, n, alpha=0.05 / contrasts) == pytest.approx(0.8, abs=1e-6)


def test_six_pairs_have_no_detectable_difference() -> None:
    assert detectable_dz(6) is None


def test_power_is_a_probability_and_rises_with_n_and_with_the_effect() -> None:
    for alpha in (0.05, 0.05 / 6, 0.05 / 1000):
        table = np.array([[power(dz, n, alpha=alpha) for n in (2, 6, 7, 10, 50, 200, 10**4, 10**6)] for dz in EFFECTS])
        assert np.isfinite(table).all()
        assert (np.diff(table, axis=0) >= -1e-4).all()
        assert (np.diff(table[:, 1:], axis=1) >= -1e-4).all()
        assert table.min() >= alpha * (1 - 1e-6)
        assert table.max() <= 1


EFFECTS = (0.0, 1e-9, 1e-3, 0.01, 0.1, 0.2818382931264282, 0.5, 1.0, 3.0, 30.0, 1e5, 1e9)
