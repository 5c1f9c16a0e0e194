"""What is said of a result: each sentence whole, and what none may say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsu_jobs.studies.statistics import (
    Bounds,
    compare,
    compare_examples,
    examples_verdict,
    rank,
    ranking_verdict,
    verdict,
)


def said(differences: list[float | None], *, others: int = 0, metric: str = "test_accuracy", **changed: Any) -> str:
    """The verdict on one arm with these differences, beside others that do nothing."""
    random = np.random.default_rng(0)
    values: dict[str, dict[int, float | None]] = {
        "baseline": dict.fromkeys(range(len(differences)), 0.5),
        "mhe": {seed: None if by is None else 0.5 + by for seed, by in enumerate(differences)},
    }
    for number in range(others):
        values[f"other{number}"] = dict(enumerate((0.5 + random.normal(0, 0.01, len(differences))).tolist()))
    comparison = compare(values, "baseline", **{"higher_is_better": True} | changed)
    return verdict(comparison.contrasts[0], comparison, metric=metric)


RISING = [0.01, 0.02, 0.03, 0.02, 0.01, 0.03, 0.02, 0.02]
MIXED = [0.01, -0.02, 0.03, -0.02, 0.01, 0.03, -0.02, 0.02]


def test_a_difference_that_is_shown_is_told_with_its_numbers_and_its_direction() -> None:
    assert said(RISING) == (
        "mhe is shown to have a higher test_accuracy than baseline (8 pairs, mean difference +0.02, 95 % interval"
        " +0.0137 to +0.0263, p = 0.00781); higher is better, so mhe is the better one."
    )
    assert said(RISING, metric="ece", higher_is_better=False).endswith(
        "mhe is shown to have a higher ece than baseline (8 pairs, mean difference +0.02, 95 % interval"
        " +0.0137 to +0.0263, p = 0.00781); lower is better, so baseline is the better one."
    )


def test_a_difference_that_is_not_shown_is_told_with_what_would_have_been() -> None:
    found = said(MIXED)
    assert found == (
        "8 pairs do not show a difference in test_accuracy between mhe and baseline (mean difference +0.005, 95 %"
        " interval -0.0134 to +0.0234, p = 0.633). A true difference of 0.0255 would have been shown with a"
        " probability of 0.8. If the difference truly is as large as seen, about 200 pairs would show it with a"
        " probability of 0.8."
    )


def test_what_only_the_number_of_contrasts_hides_is_told() -> None:
    differences: list[float | None] = [0.01, 0.02, 0.03, -0.001, 0.01, 0.03, 0.02, -0.005]
    assert "Not adjusted" not in said(differences)
    assert "Not adjusted" not in said(MIXED, others=3)
    assert "Not adjusted for the 20 contrasts of the study, p = 0.0312." in said(differences, others=19)


def test_p_is_said_to_be_adjusted_where_it_is() -> None:
    assert ", p = 0.00781)" in said(RISING)
    assert ", adjusted p = 0.0" in said(RISING, others=3)


def test_what_no_number_of_pairs_would_show_is_told() -> None:
    ending = "The mean difference seen is 0, which no number of pairs would show."
    assert said([0.25, -0.25] * 4).endswith(ending)
    small: list[float | None] = [0.25, -0.25] * 4
    small[0] = 0.250001
    assert said(small).endswith(
        "If the difference truly is as small as seen, it would take more than 1,000,000 pairs to show it."
    )


def test_six_pairs_are_told_to_be_few() -> None:
    assert "6 pairs are so few that every pair would have had to agree." in said(MIXED[:6])


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, "mhe and baseline have 1 pair: too few to test, as no p-value of so few is below 1. From 6"),
        (5, "mhe and baseline have 5 pairs: too few to test, as no p-value of so few is below 0.0625. From 6"),
    ],
)
def test_too_few_pairs_are_told_with_how_many_it_takes(n: int, expected: str) -> None:
    assert said(RISING[:n]) == f"{expected} pairs on, it can be 0.05 or less."


def test_no_pair_at_all_is_told_with_what_is_missing() -> None:
    found = said([None, None])
    assert found.startswith("mhe and baseline have no pairs of runs with the same seed, so nothing can be compared.")
    assert "2 pairs of 2 are missing" in found


def test_equal_runs_are_told_to_be_equal() -> None:
    assert said([0.0] * 7) == "mhe and baseline have the same test_accuracy in all 7 pairs."


def test_what_the_missing_could_change_is_told() -> None:
    one_missing = [*RISING, None]
    assert said(one_missing).endswith(
        "1 pair of 9 is missing, and as the metric has no bounds it is not known what they could change."
    )
    assert said(one_missing, bounds=Bounds(0, 1)).endswith(
        "1 pair of 9 is missing: with the worst or the best values in their place, the result would be another."
    )
    assert "missing" not in said([0.3] * 12 + [None], bounds=Bounds(0, 1))


def test_what_the_missing_of_another_arm_could_change_is_told() -> None:
    random = np.random.default_rng(0)
    values: dict[str, dict[int, float | None]] = {
        "baseline": dict.fromkeys(range(8), 0.5),
        "mhe": dict(enumerate([0.51, 0.52, 0.53, 0.499, 0.51, 0.53, 0.52, 0.51])),
        "mgd": dict(enumerate((0.5 + random.normal(0, 0.01, 8)).tolist())),
    }
    values["mgd"][0] = None
    comparison = compare(values, "baseline", higher_is_better=True, bounds=Bounds(0, 1))
    first = comparison.contrasts[0]
    assert verdict(first._replace(depends_on_missing=True), comparison, metric="test_accuracy").endswith(
        "Members of other arms are missing: with the worst or the best values in their place, the result would be"
        " another."
    )
    assert "missing" not in verdict(first._replace(depends_on_missing=False), comparison, metric="test_accuracy")


lists = st.lists(st.one_of(st.none(), st.floats(-0.5, 0.5)), max_size=12)


@given(lists, st.integers(0, 3), st.booleans(), st.sampled_from([None, Bounds(0, 1)]))
def test_no_verdict_says_that_there_is_no_difference(
    differences: list[float | None], others: int, higher: bool, bounds: Bounds | None
) -> None:
    found = said(differences, others=others, higher_is_better=higher, bounds=bounds)
    assert found.endswith(".")
    assert not re.search(r"no (significant )?(difference|effect)|equivalent|nan|inf\b|None", found)


def test_examples_are_said_to_be_about_new_examples() -> None:
    random = np.random.default_rng(0)
    other = random.random((3, 2000)) < 0.8
    better = other | (random.random((3, 2000)) < 0.1)
    about = " This is about new examples for the networks as they are, not about new seeds."
    shown = examples_verdict(compare_examples(better, other), first="mhe", other="baseline")
    assert re.fullmatch(
        r"On new examples mhe with its 3 networks is shown to be right more often than baseline \(\+[\d.]+ percentage"
        r" points, 95 % interval \+[\d.]+ to \+[\d.]+, p ≤ 1e-12, 2000 examples\)\." + re.escape(about),
        shown,
    )
    reverse = examples_verdict(compare_examples(other, better), first="mhe", other="baseline")
    assert reverse.startswith("On new examples baseline with its 3 networks is shown to be right more often than mhe")
    not_shown = examples_verdict(compare_examples(other[0, :50], better[0, :50]), first="mhe", other="baseline")
    assert not_shown.startswith("50 examples do not show that mhe or baseline is right more often (")
    same = examples_verdict(compare_examples(other, other), first="mhe", other="baseline")
    assert same == "mhe and baseline are right on the same 2000 test examples." + about


def test_ranks_are_told_with_what_tells_arms_apart() -> None:
    random = np.random.default_rng(0)

    def table(datasets: int) -> dict[str, dict[str, float | None]]:
        return {str(n): {arm: float(random.normal(place)) for place, arm in enumerate("abcd")} for n in range(datasets)}

    many = ranking_verdict(rank(table(20), higher_is_better=True))
    assert re.fullmatch(
        r"Over 20 data sets the ranks of the 4 arms are shown to differ \(Friedman's test with Iman and Davenport's"
        r" correction, p . [\d.e-]+\)\. Two arms are told apart if their average ranks differ by more than 1\.05"
        r" \(Nemenyi's test\)\.",
        many,
    )
    few = ranking_verdict(rank({"x": {"a": 1, "b": 2}, "y": {"a": 2, "b": 1}}, higher_is_better=True))
    assert few.startswith("2 data sets do not show that the ranks of the 2 arms differ (")
    assert few.endswith("their average ranks would have to differ by 1.39, and can differ by 1.")
