"""Effect sizes, against published values and binomial probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hsu_jobs.studies.statistics import effects, intervals


def of(*differences: float, higher_is_better: bool = True) -> effects.Effect:
    values = np.array(differences)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return effects.effect(values, sd, higher_is_better=higher_is_better, level=0.95)


def test_dz_is_students_t_over_the_root_of_n() -> None:
    values = np.random.default_rng(0).normal(1, 1, 9)
    assert of(*values).dz == pytest.approx(stats.ttest_1samp(values, 0).statistic / 3)


@pytest.mark.parametrize(("nu", "table"), [(2, 0.5642), (5, 0.8408), (10, 0.9228), (30, 0.9748)])
def test_the_correction_is_that_of_hedges_table(nu: int, table: float) -> None:
    values = np.random.default_rng(nu).normal(1, 1, nu + 1)
    found = of(*values)
    assert found.dz is not None
    assert found.hedges_g == pytest.approx(table * found.dz, rel=2e-4)


def test_corrected_dz_is_right_on_average() -> None:
    draws = np.random.default_rng(0).normal(0.8, 1, (20_000, 5))
    dz = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    factor = of(*draws[0]).hedges_g / of(*draws[0]).dz  # type: ignore[operator]
    assert dz.mean() > 0.95
    assert factor * dz.mean() == pytest.approx(0.8, abs=0.02)


def test_what_has_no_spread_has_no_dz_and_two_pairs_no_correction() -> None:
    assert of(0.5, 0.5, 0.5)[:2] == (None, None)
    assert of(0.5)[:2] == (None, None)
    assert of(0.5, 0.7).dz is not None
    assert of(0.5, 0.7).hedges_g is None
    assert of() == (None, None, None)


def test_improvement_counts_ties_half_and_looks_in_the_better_direction() -> None:
    up, down = of(1.0, 2.0, 0.0, -1.0), of(1.0, 2.0, 0.0, -1.0, higher_is_better=False)
    assert up.improvement is not None
    assert down.improvement is not None
    assert (up.improvement.share, down.improvement.share) == (0.625, 0.375)
    assert up.improvement.interval.low == pytest.approx(1 - down.improvement.interval.high)


def test_without_ties_its_interval_is_clopper_and_pearsons() -> None:
    found = of(1.0, 2.0, 3.0, 1.0, -1.0)
    expected = stats.binomtest(4, 5).proportion_ci(0.95, method="exact")
    assert found.improvement is not None
    assert found.improvement.interval[:2] == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("better", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("equal", [0.0, 0.2, 0.5])
def test_its_interval_covers_at_least_as_often_as_it_says(better: float, equal: float) -> None:
    n, covered = 8, 0.0
    for wins in range(n + 1):
        for ties in range(n + 1 - wins):
            found = intervals.of_share(wins, wins + ties, n, level=0.9)
            if found.low <= better + equal / 2 <= found.high:
                counts = (wins, ties, n - wins - ties)
                covered += stats.multinomial.pmf(counts, n, (better, equal, 1 - better - equal))
    assert covered >= 0.9
    assert math.isfinite(covered)
