"""The simulations of studies, with few of them: what is measured there still works, and is near what is promised."""

from __future__ import annotations

import numpy as np
import study_statistics
from study_statistics import RUNS


def test_intervals_cover_normal_values_as_they_say_and_skewed_ones_less() -> None:
    random = np.random.default_rng(0)
    normal, exponential = (study_statistics.coverage(draw, 10, samples=2000, random=random) for draw in RUNS.values())
    assert 0.93 < normal.covered < 0.97
    assert 0.85 < exponential.covered < 0.93
    assert normal.skewed < 0.1 < exponential.skewed


def test_false_differences_are_seldom_shown_and_the_joint_maximum_shows_more_true_ones_than_holm() -> None:
    random = np.random.default_rng(0)
    found = study_statistics.rates(RUNS["normal"], (0, 0, 0, 1.5, 1.5, 1.5), 8, count=300, random=random)
    assert found.errors < 0.09
    assert found.power > found.power_holm > 0.2


def test_networks_that_share_what_is_hard_for_them_are_not_independent_answers() -> None:
    found = study_statistics.example_rates(5, count=300, random=np.random.default_rng(0))
    assert found.covered > 0.9
    assert found.errors < 0.09 < found.errors_of_sums


def test_a_large_study_is_compared_in_a_moment() -> None:
    assert study_statistics.milliseconds(20, 50, missing=2, random=np.random.default_rng(0)) < 2000
