"""Ranks over data sets, against scipy and the example and tables of Demšar 2006."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hsu_jobs.studies.statistics import rank, ranks

# Ranks of C4.5, with m, with cf, and with both, on 14 data sets: Demšar 2006, table 6.
DEMSAR = """
4 3 2 1    1 2 3 4    4 1 2 3    4 1 3 2    4 2 3 1    1 2.5 4 2.5    3 2 4 1    2.5 2.5 4 1    4 3 2 1
2.5 2.5 2.5 2.5    4 2.5 1 2.5    3 2 4 1    4 1 2 3    3 1 4 2
"""


def demsar() -> dict[str, dict[str, float | None]]:
    table = np.array([float(word) for word in DEMSAR.split()]).reshape(14, 4)
    return {f"set{row}": dict(zip("abcd", ranks.tolist(), strict=True)) for row, ranks in enumerate(table)}


def test_demsars_example_has_his_ranks_and_groups() -> None:
    found = rank(demsar(), higher_is_better=False, level=0.9)
    by_arm = dict(zip(found.arms, found.average_ranks, strict=True))
    assert by_arm == pytest.approx({"a": 3.143, "b": 2.000, "c": 2.893, "d": 1.964}, abs=5e-4)
    assert found.critical_difference == pytest.approx(1.12, abs=0.005)  # his, at 0.10
    assert rank(demsar(), higher_is_better=False).critical_difference == pytest.approx(1.25, abs=0.005)
    # "at p = 0.10 ... C4.5 is worse than C4.5+m and C4.5+m+cf"
    assert found.groups == (("d", "b", "c"), ("c", "a"))


def test_demsars_chi_square_and_f_come_out_where_ties_are_not_corrected_for() -> None:
    average = np.array([3.143, 2.0, 2.893, 1.964])
    uncorrected = 12 * 14 / (4 * 5) * ((average**2).sum() - 4 * 25 / 4)
    assert uncorrected == pytest.approx(9.28, abs=0.01)
    assert 13 * uncorrected / (14 * 3 - uncorrected) == pytest.approx(3.69, abs=0.01)
    found = rank(demsar(), higher_is_better=False)
    assert found.chi_square == pytest.approx(uncorrected * 14 * 60 / (14 * 60 - TIES), rel=2e-3)


TIES = 3 * 6 + 60
"""Σ t³ − t: three data sets have two equal values, and one has four."""


def test_friedman_is_that_of_scipy_with_ties() -> None:
    values = np.random.default_rng(0).integers(0, 6, (9, 5)).astype(float)
    expected = stats.friedmanchisquare(*values.T)
    table = {str(row): dict(zip("abcde", of.tolist(), strict=True)) for row, of in enumerate(values)}
    found = rank(table, higher_is_better=False)
    assert (found.chi_square, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    f = 8 * found.chi_square / (9 * 4 - found.chi_square)
    assert found.p_iman_davenport == pytest.approx(stats.f.sf(f, 4, 32))
    means = stats.rankdata(values, axis=1).mean(axis=0)
    assert sorted(found.average_ranks) == pytest.approx(sorted(means))


@pytest.mark.parametrize(
    ("level", "table"),
    [
        (0.95, (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)),
        (0.90, (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)),
    ],
)
def test_critical_values_are_those_of_demsars_table_5(level: float, table: tuple[float, ...]) -> None:
    for k, expected in enumerate(table, 2):
        found = ranks.critical_difference(k, 1, level=level) / math.sqrt(k * (k + 1) / 6)
        assert found == pytest.approx(expected, abs=1.1e-3)
        assert found == pytest.approx(stats.studentized_range.ppf(level, k, np.inf) / math.sqrt(2), abs=1e-6)


def test_where_all_data_sets_agree_p_is_that_of_chance() -> None:
    found = rank({str(row): {"a": 3.0, "b": 2.0, "c": 1.0} for row in range(4)}, higher_is_better=True)
    assert found.arms == ("a", "b", "c")
    assert found.p_iman_davenport == pytest.approx(6.0**-3)
    assert found.chi_square == 8


def test_equal_values_everywhere_show_nothing() -> None:
    found = rank({str(row): {"a": 1.0, "b": 1.0} for row in range(4)}, higher_is_better=True)
    assert (found.chi_square, found.p, found.p_iman_davenport) == (0, 1, 1)
    assert found.groups == (("a", "b"),)


def test_a_data_set_without_one_arm_is_left_out_and_named() -> None:
    values: dict[str, dict[str, float | None]] = {
        "x": {"a": 1.0, "b": 2.0},
        "y": {"a": 1.0, "b": None},
        "z": {"a": 2.0, "b": 1.0},
        "w": {"b": 2.0},
    }
    found = rank(values, higher_is_better=True)
    assert (found.datasets, found.left_out) == (("x", "z"), ("y", "w"))


def test_one_data_set_or_one_arm_is_refused() -> None:
    for values in ({"x": {"a": 1.0, "b": 2.0}}, {"x": {"a": 1.0}, "y": {"a": 2.0}}, {}):
        with pytest.raises(ValueError, match="two arms or more"):
            rank(values, higher_is_better=True)
