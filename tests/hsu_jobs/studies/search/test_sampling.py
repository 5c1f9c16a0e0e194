"""Points that are asked of Optuna: always the same ones, better ones in time, and no Optuna at the start."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsu_jobs.studies.search import sampling, trials
from hsu_jobs.studies.search.spec import Search
from hsu_jobs.studies.search.trials import Trial

ROOT = Path(__file__).parents[4]
SPACE: dict[str, Any] = {
    "/lr": {"kind": "float", "low": 1e-4, "high": 1, "log": True},
    "/width": {"kind": "int", "low": 1, "high": 100},
    "/kind": {"kind": "choice", "choices": [1, 1.0, True, {"b": 1, "a": [2]}]},
}


def search(sampler: str = "tpe", *, seed: int = 0) -> Search:
    return Search.model_validate({"space": SPACE, "trials": 60, "sampler": sampler, "seed": seed})


def quadratic(point: dict[str, Any]) -> float:
    """Least at lr = 0.01 and width = 70."""
    return math.log10(point["/lr"] / 0.01) ** 2 + ((point["/width"] - 70) / 25) ** 2


def ended(asked: Search, count: int, *, sign: float = 1) -> list[Trial]:
    """So many trials, one after the other."""
    found: list[Trial] = []
    for number in range(count):
        point = sampling.next_point(asked, asked.space, found, higher_is_better=sign < 0)
        found.append(Trial(number, number, point, has_ended=True, value=sign * quadratic(point)))
    return found


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_whoever_asks_anew_at_any_trial_gets_the_same_point(sampler: str) -> None:
    every = ended(search(sampler), 25)
    for number, trial in enumerate(every):
        anew = search(sampler)
        assert sampling.next_point(anew, anew.space, every[:number], higher_is_better=False) == trial.point


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_order_of_fields_does_not_matter_as_the_database_does_not_keep_it(sampler: str) -> None:
    every = ended(search(sampler), 15)
    other = Search.model_validate({"space": dict(reversed(SPACE.items())), "trials": 60, "sampler": sampler})
    turned = [trial._replace(point=dict(reversed(trial.point.items()))) for trial in every]
    mine = sampling.next_point(search(sampler), search(sampler).space, every, higher_is_better=False)
    assert sampling.next_point(other, other.space, turned, higher_is_better=False) == mine


@pytest.mark.parametrize("sign", [1, -1])
def test_tpe_finds_a_minimum_and_a_maximum_better_than_chance(sign: float) -> None:
    late = {
        sampler: [
            statistics.fmean(quadratic(trial.point) for trial in ended(search(sampler, seed=seed), 60, sign=sign)[30:])
            for seed in range(4)
        ]
        for sampler in ("random", "tpe")
    }
    assert max(late["tpe"]) < min(late["random"]) / 2


def test_values_are_of_the_space_and_choices_keep_their_types() -> None:
    every = ended(search("random"), 60)
    for trial in every:
        assert 1e-4 <= trial.point["/lr"] <= 1
        assert float(f"{trial.point['/lr']:.6g}") == trial.point["/lr"]
        assert isinstance(trial.point["/width"], int)
    drawn = {repr(trial.point["/kind"]) for trial in every}
    assert drawn == {"1", "1.0", "True", "{'b': 1, 'a': [2]}"}


def test_another_seed_asks_other_points_and_all_arms_the_same() -> None:
    assert ended(search("random"), 3) == ended(search("random"), 3)
    assert ended(search("random", seed=1), 3) != ended(search("random"), 3)


def test_trials_that_run_or_have_failed_are_told_without_a_value() -> None:
    asked = search()
    every = ended(asked, 20)
    running = [*every[:15], *(trial._replace(has_ended=False, value=None) for trial in every[15:])]
    failed = [*every[:15], *(trial._replace(value=None) for trial in every[15:])]
    points = [
        sampling.next_point(asked, asked.space, each, higher_is_better=False) for each in (every, running, failed)
    ]
    assert all(set(point) == set(SPACE) for point in points)
    assert points[0] != points[1]


def test_the_best_is_the_first_of_equal_ones() -> None:
    every = [Trial(number, number, {}, True, value) for number, value in enumerate((None, 2.0, 1.0, 1.0, 2.0))]
    assert trials.best(every, higher_is_better=True) == every[1]
    assert trials.best(every, higher_is_better=False) == every[2]
    assert trials.best(every[:1], higher_is_better=True) is None


@pytest.mark.parametrize("module", ["api.app", "worker.app", "hsu_jobs.studies.search.sampling"])
def test_optuna_is_loaded_when_it_is_asked_and_not_before(module: str) -> None:
    question = f"import {module}, sys; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", question], cwd=ROOT, check=False).returncode == 0
