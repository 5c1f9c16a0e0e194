"""The permutation tests, against scipy and against every flip tried one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from hsu_jobs.studies.statistics import sign_flips

Matrix = NDArray[np.float64]


def drawn(contrasts: int, seeds: int, *, seed: int = 0, missing: float = 0.0) -> Matrix:
    random = np.random.default_rng(seed)
    differences = random.normal(0.5, 1, (contrasts, seeds)) - random.normal(size=seeds)
    differences[random.random((contrasts, seeds)) < missing] = np.nan
    return differences


def by_brute_force(differences: Matrix) -> tuple[list[float], list[float]]:
    """Every flip of all seeds, the step-down maximum taken contrast by contrast; only for rows of two pairs or more."""
    rows = np.nan_to_num(differences)
    flips = [np.array(signs) for signs in itertools.product((1, -1), repeat=rows.shape[1])]
    u = np.array([[abs((signs * row).sum()) / np.sqrt((row**2).sum()) for row in rows] for signs in flips])
    seen = u[0] - 1e-12
    p = [float((u[:, k] >= seen[k]).mean()) for k in range(len(rows))]
    adjusted: list[float] = [0.0] * len(rows)
    highest, left = 0.0, sorted(range(len(rows)), key=lambda k: -seen[k])
    while left:
        highest = max(highest, float((u[:, left].max(axis=1) >= seen[left[0]]).mean()))
        adjusted[left.pop(0)] = highest
    return p, adjusted


@pytest.mark.parametrize("seeds", [2, 5, 8, 10])
def test_one_contrast_is_tested_as_scipy_tests_it(seeds: int) -> None:
    [row] = drawn(1, seeds)

    def mean(of: Matrix, axis: int) -> Matrix:
        return np.asarray(of.mean(axis=axis))

    expected = stats.permutation_test((row,), mean, permutation_type="samples", n_resamples=np.inf)
    found = sign_flips.p_values(row[None], seed=0)
    assert found.is_exact
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.p_max_t[0] == found.p[0]


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_the_joint_maximum_is_that_of_every_flip(seed: int, missing: float) -> None:
    differences = drawn(4, 7, seed=seed, missing=missing)
    differences[:, :2] = drawn(4, 2, seed=seed + 100)  # two pairs at least
    found = sign_flips.p_values(differences, seed=0)
    p, adjusted = by_brute_force(differences)
    assert found.p == pytest.approx(p)
    assert found.p_max_t == pytest.approx(adjusted)


def test_of_equally_many_pairs_the_maximum_of_u_is_that_of_students_t() -> None:
    differences = drawn(5, 8)
    flips = np.array(list(itertools.product((1, -1), repeat=8)))
    t = np.abs(stats.ttest_1samp(flips[:, None, :] * differences, 0, axis=2).statistic)
    order = np.argsort(-t[0])
    single = [(t[:, order[k:]].max(axis=1) >= t[0, order[k]] - 1e-9).mean() for k in range(5)]
    assert sign_flips.p_values(differences, seed=0).p_max_t[order] == pytest.approx(np.maximum.accumulate(single))


def test_a_contrast_of_few_pairs_does_not_hide_the_others() -> None:
    many = np.linspace(1, 2, 10)
    few = np.array([1.0, 1.001] + [np.nan] * 8)  # Student's t is 2001
    alone = sign_flips.p_values(many[None], seed=0)
    assert sign_flips.p_values(np.stack([many, few]), seed=0).p_max_t[0] == alone.p[0] == 2**-9


def test_more_seeds_than_can_be_tried_are_sampled_near_the_exact_p() -> None:
    row = stats.norm.ppf((np.arange(17) + 0.5) / 17) + 0.4
    found = sign_flips.p_values(row[None], seed=1)
    bits = (np.arange(2**16)[:, None] >> np.arange(17)) & 1
    exact = (np.abs((1 - 2 * bits) @ row) >= abs(row.sum()) - 1e-12).mean()
    assert not found.is_exact
    assert found.flips == sign_flips.SAMPLED
    assert 0.02 < exact < 0.5
    assert found.p[0] == pytest.approx(exact, abs=5 * np.sqrt(exact * (1 - exact) / found.flips))


def test_a_sample_is_drawn_by_its_seed_and_never_gives_zero() -> None:
    differences = drawn(3, 40) + 5
    first, again, other = (sign_flips.p_values(differences, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.p_max_t, again.p_max_t)
    assert first.p.min() == pytest.approx(1 / (sign_flips.SAMPLED + 1))
    weak = drawn(3, 40, seed=9) - 0.4
    assert not np.array_equal(sign_flips.p_values(weak, seed=1).p, sign_flips.p_values(weak, seed=2).p)
    assert other.flips == first.flips


def test_fewer_than_two_pairs_are_not_tested_and_change_nothing() -> None:
    differences = drawn(3, 9)
    lone = np.full((2, 9), np.nan)
    lone[0, 3] = 4.0
    found = sign_flips.p_values(np.concatenate([differences, lone]), seed=0)
    assert np.isnan(found.p[3:]).all()
    assert np.isnan(found.p_max_t[3:]).all()
    assert np.array_equal(found.p_max_t[:3], sign_flips.p_values(differences, seed=0).p_max_t)


def test_differences_without_spread_are_tested_as_any() -> None:
    found = sign_flips.p_values(np.array([[0.3, 0.1 + 0.2, 0.3, 0.3, 0.3, 0.3], [0.0] * 6]), seed=0)
    assert found.p.tolist() == [2**-5, 1.0]
    assert found.p_max_t.tolist() == [2**-5, 1.0]


def test_seeds_without_any_pair_do_not_make_a_sample_of_what_can_be_tried() -> None:
    differences = drawn(2, 10)
    wide = np.concatenate([differences, np.full((2, 20), np.nan)], axis=1)
    found = sign_flips.p_values(wide, seed=0)
    assert found.is_exact
    assert np.array_equal(found.p_max_t, sign_flips.p_values(differences, seed=0).p_max_t)


def test_no_contrast_at_all_is_no_error() -> None:
    assert len(sign_flips.p_values(np.empty((0, 5)), seed=0).p) == 0
    assert np.isnan(sign_flips.p_values(np.full((2, 5), np.nan), seed=0).p).all()


tables = st.integers(0, 10**6).flatmap(
    lambda seed: st.tuples(st.integers(1, 5), st.integers(2, 9), st.sampled_from([0.0, 0.2])).map(
        lambda size: drawn(size[0], size[1], seed=seed, missing=size[2])
    )
)


@given(tables)
def test_an_adjusted_p_is_never_below_that_of_the_contrast_alone(differences: Matrix) -> None:
    found = sign_flips.p_values(differences, seed=0)
    tested = np.isfinite(found.p)
    assert (found.p_max_t >= found.p)[tested].all()
    assert ((found.p > 0) & (found.p_max_t <= 1))[tested].all()


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_contrasts_changes_nothing(differences: Matrix, random: object) -> None:
    generator = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    rows, columns = generator.permutation(differences.shape[0]), generator.permutation(differences.shape[1])
    found = sign_flips.p_values(differences, seed=0)
    shuffled = sign_flips.p_values(differences[rows][:, columns], seed=0)
    assert np.array_equal(shuffled.p, found.p[rows], equal_nan=True)
    assert np.array_equal(shuffled.p_max_t, found.p_max_t[rows], equal_nan=True)


@given(tables, st.sampled_from([1e-12, 0.001, 7.0, 1e12]))
def test_neither_the_unit_nor_exchanging_the_arms_changes_a_p(differences: Matrix, unit: float) -> None:
    found = sign_flips.p_values(differences, seed=0)
    for other in (-differences, unit * differences):
        assert np.array_equal(sign_flips.p_values(other, seed=0).p_max_t, found.p_max_t, equal_nan=True)


@given(tables.filter(lambda differences: np.isfinite(differences).all()), st.floats(0.1, 10))
def test_p_falls_as_all_differences_move_away_from_zero(differences: Matrix, by: float) -> None:
    upward = differences * np.sign(differences.mean(axis=1, keepdims=True))
    before, after = sign_flips.p_values(upward, seed=0), sign_flips.p_values(upward + by, seed=0)
    assert (after.p <= before.p).all()
