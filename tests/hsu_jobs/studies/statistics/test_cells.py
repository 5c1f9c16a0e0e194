"""The numbers of a cell, against `scipy.stats`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hsu_jobs.studies.statistics import describe, skewness_warning

VALUES = np.random.default_rng(0).exponential(size=12).tolist()


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_interval_is_students(n: int, level: float) -> None:
    cell = describe(VALUES[:n], level=level)
    assert cell.interval is not None
    expected = stats.ttest_1samp(VALUES[:n], 0).confidence_interval(level)
    assert cell.interval == pytest.approx((*expected, level), rel=1e-12)
    assert cell.mean == pytest.approx(np.mean(VALUES[:n]))
    assert cell.sd == pytest.approx(np.std(VALUES[:n], ddof=1))


@pytest.mark.parametrize("n", [3, 5, 12])
def test_the_skewness_is_that_of_scipy_without_bias(n: int) -> None:
    assert describe(VALUES[:n]).skewness == pytest.approx(stats.skew(VALUES[:n], bias=False))


def test_values_that_are_none_or_not_finite_or_huge_are_missing() -> None:
    cell = describe([1.0, None, math.nan, math.inf, -math.inf, 1e200, 3.0])
    assert (cell.n, cell.missing, cell.mean) == (2, 5, 2.0)


def test_what_cannot_be_said_of_few_values_is_none() -> None:
    assert describe([]) == (0, 0, None, None, None, None)
    assert describe([4.0]) == (1, 0, 4.0, None, None, None)
    two = describe([1.0, 2.0])
    assert two.interval is not None
    assert two.skewness is None


def test_equal_values_have_no_spread_and_no_skewness_even_after_rounding() -> None:
    cell = describe([0.3, 0.1 + 0.2, 0.3, 0.3])
    assert cell.sd == 0
    assert cell.skewness is None
    assert not cell.is_skewed


def test_the_order_changes_no_bit() -> None:
    assert describe(VALUES) == describe(VALUES[::-1])


def test_a_long_tail_is_told_and_symmetric_values_are_not() -> None:
    tail = describe([0.1, 0.12, 0.11, 0.13, 0.1, 0.12, 0.11, 0.9])
    warning = skewness_warning(tail)
    assert tail.is_skewed
    assert warning is not None
    assert f"skewness {tail.skewness:.1f}" in warning
    assert skewness_warning(describe([1.0, 2.0, 3.0, 4.0, 5.0])) is None


def test_a_skewness_that_normal_values_often_have_is_not_told() -> None:
    cell = describe([1.0, 2.0, 3.0, 4.0, 9.0])
    assert cell.skewness is not None
    assert 1.2 < cell.skewness < 1.7
    assert not cell.is_skewed


def test_many_values_are_not_called_skewed_where_cochran_has_enough() -> None:
    cell = describe(np.random.default_rng(1).exponential(size=500).tolist())
    assert cell.skewness is not None
    assert cell.skewness > 1
    assert not cell.is_skewed


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -1.0])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        describe(VALUES, level=level)
