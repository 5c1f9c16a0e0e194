"""Two arms on the same test examples, against statsmodels and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as of_statsmodels

from hsu_jobs.studies.statistics import compare_examples, examples
from hsu_jobs.studies.statistics.intervals import Array


def answers(networks: int, number: int = 400, *, seed: int = 0, better: float = 0.0) -> tuple[Array, Array]:
    """Right answers of both arms: an example is easy or hard for all networks alike."""
    random = np.random.default_rng(seed)
    ease = random.beta(4, 1, number)
    first = random.random((networks, number)) < np.minimum(1, ease + better)
    return first, random.random((networks, number)) < ease


@pytest.mark.parametrize(("only_first", "only_other"), [(0, 0), (1, 0), (3, 9), (20, 20), (120, 90), (0, 60)])
def test_mcnemar_is_that_of_statsmodels(only_first: int, only_other: int) -> None:
    table = [[50, only_first], [only_other, 7]]
    expected = of_statsmodels(table, exact=True).pvalue if only_first + only_other else 1.0
    assert examples.mcnemar(only_first, only_other) == pytest.approx(expected)


def test_one_pair_of_networks_is_compared_by_mcnemar() -> None:
    [first], [other] = answers(1, better=0.05)
    found = compare_examples(first, other)
    assert found.p == examples.mcnemar(found.only_first_right, found.only_other_right)
    assert found.difference == pytest.approx(first.mean() - other.mean())
    assert (found.accuracy, found.accuracy_of_other) == (first.mean(), other.mean())
    assert found.only_first_right == (first & ~other).sum()


@pytest.mark.parametrize(("only_first", "only_other"), [(1, 0), (3, 9), (20, 20), (120, 90)])
def test_for_one_pair_swaps_are_mcnemars_test(only_first: int, only_other: int) -> None:
    gains = np.array([1] * only_first + [-1] * only_other + [0] * 30)
    assert examples.swaps(gains) == pytest.approx(examples.mcnemar(only_first, only_other), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_swaps_are_every_flip_of_every_example(seed: int) -> None:
    gains = np.random.default_rng(seed).integers(-3, 5, 10)
    flips = np.array(list(itertools.product((1, -1), repeat=10)))
    assert examples.swaps(gains) == pytest.approx((np.abs(flips @ gains) >= abs(gains.sum())).mean(), abs=1e-12)


def test_answers_of_several_networks_to_one_example_are_one_draw() -> None:
    [first], [other] = answers(1, better=0.05)
    alone = compare_examples(first, other)
    copied = compare_examples(np.tile(first, (5, 1)), np.tile(other, (5, 1)))
    assert copied.p == pytest.approx(alone.p, abs=1e-12)
    assert copied.interval == pytest.approx(alone.interval)
    pooled = examples.mcnemar(copied.only_first_right, copied.only_other_right)
    assert pooled < alone.p / 10  # what adding up the counts would claim


def test_the_bootstrap_is_that_of_scipy() -> None:
    first, other = answers(3, better=0.03)
    gains = first.mean(axis=0) - other.mean(axis=0)
    expected = stats.bootstrap((gains,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(5))
    assert compare_examples(first, other).interval[:2] == pytest.approx(expected.confidence_interval, abs=1e-3)


def test_it_is_seeded() -> None:
    pair = answers(3)
    first, again, other = (compare_examples(*pair, seed=seed, resamples=50) for seed in (1, 1, 2))
    assert first == again != other


def test_exchanging_the_arms_turns_the_signs() -> None:
    first, other = answers(4, better=0.02)
    there, back = compare_examples(first, other), compare_examples(other, first)
    assert (back.difference, back.p) == (-there.difference, pytest.approx(there.p))
    assert back.interval.low == pytest.approx(-there.interval.high, abs=2e-3)


def test_networks_that_agree_on_all_examples_show_nothing() -> None:
    first, _ = answers(2)
    found = compare_examples(first, first)
    assert (found.difference, found.p, found.interval[:2]) == (0, 1, (0, 0))


def test_a_p_too_small_for_its_rounding_is_told_as_the_least() -> None:
    found = compare_examples(np.ones((2, 5000), dtype=bool), np.zeros((2, 5000), dtype=bool))
    assert found.p == examples.LEAST_P


def test_under_the_null_p_is_small_as_often_as_it_says() -> None:
    found = [compare_examples(*answers(3, 200, seed=seed), resamples=10).p for seed in range(1000)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_other_shapes_are_refused() -> None:
    for first, other in (
        (np.ones(3), np.ones(4)),
        (np.ones((2, 3)), np.ones(3)),
        (np.ones(0), np.ones(0)),
        (np.ones((1, 1, 2)), np.ones((1, 1, 2))),
    ):
        with pytest.raises(ValueError, match="same examples"):
            compare_examples(first, other)
