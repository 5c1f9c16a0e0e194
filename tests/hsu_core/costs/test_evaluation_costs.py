"""What the options of `evaluate` are said to cost, against what a run of them does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_worlds import training
from torch.utils.flop_counter import FlopCounterMode

from hsu_core import costs, spec, tasks
from hsu_core.costs.evaluation_costs import EvaluationCost
from hsu_core.data import digits
from hsu_core.evaluations import attacks, corruptions, passes
from hsu_core.evaluations.passes import Turns
from hsu_core.ranks import ALONE
from hsu_core.regularizers.layers import layers
from hsu_core.tasks.classification import Classification

ONE_PASS = spec.SmallCNN(width=4).geometry(spec.Digits.facts).forward_flops


def cost(**evaluate: Any) -> EvaluationCost:
    (found,) = costs.estimate(training("small_cnn", evaluate=evaluate)).evaluation
    return found


@pytest.fixture(scope="module")
def task() -> Classification:
    chosen = training("small_cnn", batch_size=360)
    found = tasks.prepare(chosen, digits.read((), spec.Digits.facts), device=torch.device("cpu"))
    assert isinstance(found, Classification)
    return found


def counted(done: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        done()
    return counter.get_total_flops()


def test_nothing_is_added_to_what_asks_for_nothing() -> None:
    assert costs.estimate(training("small_cnn")).evaluation == ()


def test_a_pass_is_a_forward_pass_over_the_test_set(task: Classification) -> None:
    found = cost(calibration={})
    assert found == EvaluationCost("calibration", forwards=360, backwards=0, flops=360 * ONE_PASS)
    classifier = layers(task.model, final={"classifier"})[-1]
    assert counted(lambda: passes.seen(task, "test", classifier, Turns(ALONE, lambda: False))) == found.flops


def test_corruptions_pass_once_for_each_kind_and_severity(task: Classification) -> None:
    asked = {"kinds": ["contrast", "pixelate"], "severities": [1, 2, 5]}
    found = cost(corruptions=asked)
    assert (found.forwards, found.backwards, found.flops) == (6 * 360, 0, 6 * 360 * ONE_PASS)
    chosen, turns = spec.Corruptions.model_validate(asked), Turns(ALONE, lambda: False)
    assert counted(lambda: corruptions.accuracies(chosen, task, seed=0, turns=turns)) == found.flops


def test_attacks_take_a_gradient_a_step(task: Classification) -> None:
    asked = {"methods": [{"kind": "fgsm"}, {"kind": "pgd", "steps": 20}], "epsilons": [0, 0.1]}
    found = cost(attacks=asked)
    assert (found.forwards, found.backwards) == (360 * (4 + 21), 360 * 21)
    chosen, turns = spec.Attacks.model_validate(asked), Turns(ALONE, lambda: False)
    with passes.evaluating(task.model):
        done = counted(lambda: attacks.accuracies(chosen, task, seed=0, turns=turns))
    assert found.flops == pytest.approx(done, rel=0.1)  # the library looks at some images once more


def test_fewer_examples_cost_less() -> None:
    assert cost(attacks={"examples": 36}).flops * 10 == cost(attacks={}).flops


def test_features_cost_the_passes_that_they_need() -> None:
    assert cost(features={"measures": ["alignment"]}).forwards == 360
    assert cost(features={"measures": ["alignment"], "of": "train"}).forwards == 1437
    assert cost(features={"measures": ["linear_probe"]}).forwards == 360 + 1437
    of_graph = costs.estimate(training("gcn", evaluate={"features": {"measures": ["neural_collapse"]}})).evaluation[0]
    assert of_graph.forwards == 2708  # every node of the graph
