"""Arms beside a baseline: what is paired, what is found, what is missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hsu_jobs.studies.statistics import Bounds, Comparison, Contrast, Finding, compare, detectable_dz, pairs_needed

Values = dict[str, dict[int, float | None]]


def study(*effects: float, seeds: int = 10, seed: int = 0, sd: float = 0.01) -> Values:
    """Accuracies of a baseline, and of an arm for each effect, which share half of what a seed does."""
    random = np.random.default_rng(seed)
    by_seed = 0.9 + random.normal(0, sd, seeds)
    arms = {"baseline": 0.0} | {f"arm{number}": effect for number, effect in enumerate(effects, 1)}
    return {
        name: dict(enumerate((by_seed + effect + random.normal(0, sd, seeds)).tolist()))
        for name, effect in arms.items()
    }


def compared(values: Values, **changed: Any) -> Comparison:
    return compare(values, "baseline", **{"higher_is_better": True} | changed)


def only(comparison: Comparison) -> Contrast:
    [contrast] = comparison.contrasts
    return contrast


def test_differences_are_of_the_same_seed_whatever_the_order() -> None:
    values = study(0.01, 0.0)
    first, other = values["arm1"], values["baseline"]
    expected = stats.ttest_rel([first[seed] for seed in range(10)], [other[seed] for seed in range(10)])
    found = compared(values).contrasts[0]
    assert found.difference.interval is not None
    assert found.difference.interval[:2] == pytest.approx(expected.confidence_interval(0.95))
    shuffled = {arm: dict(reversed(of.items())) for arm, of in reversed(values.items())}
    assert sorted(compared(shuffled).contrasts) == sorted(compared(values).contrasts)


def test_a_large_effect_is_found_and_said_to_be_better_or_worse() -> None:
    values = study(0.05, -0.05, 0.0, seeds=12)
    up, down = compared(values), compared(values, higher_is_better=False)
    assert [one.finding for one in up.contrasts] == [
        Finding.ARM_IS_BETTER,
        Finding.BASELINE_IS_BETTER,
        Finding.NOT_SHOWN,
    ]
    assert [one.finding for one in down.contrasts][:2] == [Finding.BASELINE_IS_BETTER, Finding.ARM_IS_BETTER]
    for one, other in zip(up.contrasts, down.contrasts, strict=True):
        assert (one.difference, one.p_values) == (other.difference, other.p_values)  # the direction changes no number


def test_exchanging_arm_and_baseline_turns_the_sign_alone() -> None:
    values = study(0.01)
    there = only(compared(values))
    back = only(compare(values, "arm1", higher_is_better=True))
    assert there.difference.mean is not None
    assert back.difference.mean == pytest.approx(-there.difference.mean)
    assert back.p_values == there.p_values
    assert back.effect.dz == pytest.approx(-(there.effect.dz or math.nan))
    assert back.reach.detectable == pytest.approx(there.reach.detectable)


def test_what_n_can_show_is_of_the_studys_contrasts() -> None:
    comparison = compared(study(0.004, 0.002, 0.0))
    first = comparison.contrasts[0]
    assert comparison.tested == 3
    assert first.effect.hedges_g is not None
    assert first.difference.sd is not None
    assert first.reach.smallest_p == 2**-9
    assert first.reach.fewest_pairs_holm == 7
    alpha = 1 - 0.95
    assert first.reach.pairs_needed == pairs_needed(first.effect.hedges_g, contrasts=3, alpha=alpha)
    size = detectable_dz(10, contrasts=3, alpha=alpha)
    assert size is not None
    assert first.reach.detectable == pytest.approx(size * first.difference.sd)


@pytest.mark.parametrize("seeds", [0, 1, 2, 5])
def test_too_few_pairs_are_said_to_be_too_few_however_large_the_difference(seeds: int) -> None:
    found = only(compared(study(0.5, seeds=seeds)))
    assert found.finding == Finding.TOO_FEW_PAIRS
    assert (found.p_values is None) is (seeds < 2)
    assert found.reach.fewest_pairs == 6
    assert found.reach.detectable is None


def test_missing_members_cost_their_pair_and_are_named() -> None:
    values = study(0.01, 0.01)
    values["arm1"][2] = None
    values["baseline"][5] = math.nan
    del values["arm2"][7]
    first, other = compared(values).contrasts
    assert (first.seeds_without_pair, first.difference.n, first.difference.missing) == ((2, 5), 8, 2)
    assert other.seeds_without_pair == (5, 7)
    assert first.depends_on_missing is None  # nobody said between which bounds the metric is


def test_a_result_that_the_missing_could_change_is_marked_and_a_safe_one_is_not() -> None:
    weak, strong = study(0.011), study(0.6, seeds=14)
    for values in (weak, strong):
        values["arm1"][0] = None
    assert only(compared(weak, bounds=Bounds(0, 2))).finding == Finding.ARM_IS_BETTER
    assert only(compared(weak, bounds=Bounds(0, 2))).depends_on_missing is True
    assert only(compared(strong, bounds=Bounds(0, 2))).depends_on_missing is False


def test_extremes_are_adjusted_for_all_contrasts_too() -> None:
    values = study(*[0.0] * 19, seeds=8)
    gains = [0.01, 0.02, 0.03, -0.001, 0.01, 0.03, 0.02, -0.005]  # alone p is 0.03
    values["arm1"] = {seed: (values["baseline"][seed] or 0) + gain for seed, gain in enumerate(gains)}
    values["arm2"][0] = None
    first = compared(values, bounds=Bounds(0, 2)).contrasts[0]
    assert first.p_values is not None
    assert first.p_values.p < 0.05 < first.p_values.p_max_t
    assert first.finding == Finding.NOT_SHOWN
    assert first.depends_on_missing is False


def test_without_missing_members_nothing_depends_on_them() -> None:
    assert only(compared(study(0.0))).depends_on_missing is False
    assert only(compared(study(0.0), bounds=Bounds(0, 1))).depends_on_missing is False


@given(st.integers(0, 10**6), st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(-0.1, 0.1))
def test_if_both_extremes_give_a_finding_every_value_between_gives_it(
    seed: int, filled: list[float], effect: float
) -> None:
    values = study(effect, seeds=8, seed=seed, sd=0.03)
    values["arm1"][0] = values["baseline"][1] = None
    found = only(compared(values, bounds=Bounds(0, 1.2)))
    values["arm1"][0], values["baseline"][1] = filled
    if found.depends_on_missing is False:
        assert only(compared(values)).finding == found.finding


def test_values_outside_the_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="between the metric's bounds"):
        compared(study(0.0), bounds=Bounds(0, 0.5))


def test_a_baseline_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="'none'; there are baseline, arm1"):
        compare(study(0.0), "none", higher_is_better=True)


def test_a_study_of_its_baseline_alone_has_no_contrast() -> None:
    assert compared(study()).contrasts == ()


def test_identical_runs_are_not_shown_to_differ() -> None:
    values = study(0.0)
    values["arm1"] = dict(values["baseline"])
    found = only(compared(values))
    assert found.finding == Finding.NOT_SHOWN
    assert found.p_values is not None
    assert found.p_values.p == 1
    assert (found.effect.dz, found.reach.pairs_needed, found.reach.detectable) == (None, None, None)


def test_equal_differences_are_shown_though_they_have_no_spread() -> None:
    values = study(0.0)
    values["arm1"] = {seed: (value or 0) + 0.01 for seed, value in values["baseline"].items()}
    found = only(compared(values))
    assert found.finding == Finding.ARM_IS_BETTER
    assert found.difference.sd == 0


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_no_adjusted_p_is_below_its_own(seed: int, arms: int) -> None:
    for one in compared(study(*[0.01] * arms, seeds=8, seed=seed)).contrasts:
        assert one.p_values is not None
        assert one.p_values.p <= min(one.p_values.p_max_t, one.p_values.p_holm)
