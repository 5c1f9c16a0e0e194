"""What is measured once at the end of a run: of which state, whatever interrupts it, and the same on every rank."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import recorder, stop_after
from small_worlds import training, world

from hsu_core import spec
from hsu_core.data import reading
from hsu_core.evaluations import options, passes
from hsu_core.evaluations.passes import Interrupted, Turns
from hsu_core.outcomes import Finished, Stopped
from hsu_core.ranks import ALONE, World
from hsu_core.training import checkpoint, launch
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

OF_CLASSES = {"calibration": {}, "features": {"of": "train"}}
OF_IMAGES = OF_CLASSES | {"attacks": {"epsilons": [0, 0.1, 0.3]}, "corruptions": {"severities": [1, 5]}}
TIMES = ("seconds", "steps_per_second", "evaluation_seconds")
PIXELS = {"fgsm_accuracy", "pgd_accuracy", "corruption_accuracy"}
METRICS = {
    *("ece", "brier", "nll", "alignment", "uniformity", "effective_rank", "linear_probe_accuracy"),
    *("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4", "evaluation_seconds"),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is small."""
    monkeypatch.setattr(reading, "load", lambda dataset, _folder, **_: world(dataset))


def measured(network: str, evaluate: dict[str, Any], **how: Any) -> Finished:
    slow = {"optimizer": {"kind": "adam", "lr": 1e-4}}  # else all features of the small graph become 0
    outcome = train(training(network, evaluate=evaluate, **(slow if network == "gcn" else {})), **how)
    assert isinstance(outcome, Finished)
    return outcome


def numbers(outcome: Finished) -> dict[str, Any]:
    return {name: value for name, value in outcome.metrics.items() if name not in TIMES} | outcome.tables


@pytest.mark.parametrize("network", ["small_cnn", "gcn", "gat", "bag_of_ngrams", "text_transformer"])
def test_every_network_with_classes_is_measured_and_nothing_else_changes(network: str) -> None:
    plain, curves = recorder()
    asked = OF_IMAGES if network == "small_cnn" else OF_CLASSES
    before = measured(network, {}, callbacks=Callbacks(report=curves))
    again, curves = recorder()
    found = measured(network, asked, callbacks=Callbacks(report=curves))
    assert plain == again
    new = found.metrics.keys() - before.metrics.keys()
    assert new == METRICS | (PIXELS if network == "small_cnn" else set())
    assert all(math.isfinite(found.metrics[name]) for name in new)
    assert found.metrics["nll"] == pytest.approx(found.metrics["test_loss"], rel=1e-5)
    assert {name: found.metrics[name] for name in before.metrics if name not in TIMES} == numbers(before)


def test_it_is_measured_of_the_state_that_is_evaluated_and_saved() -> None:
    # Batch norms move their statistics with each forward pass in training mode; the average has other weights.
    for changes in ({"ema": 0.5}, {}):
        outcome = train(training("small_cnn", evaluate={"calibration": {}, "attacks": {"epsilons": [0]}}, **changes))
        assert isinstance(outcome, Finished)
        assert outcome.metrics["nll"] == pytest.approx(outcome.metrics["test_loss"], rel=1e-6)
        assert outcome.metrics["pgd_accuracy"] == pytest.approx(outcome.metrics["test_accuracy"], rel=1e-6)


@pytest.mark.parametrize("changes", [{"classifier": {"kind": "max_separation"}}, {"parametrization": {"kind": "oft"}}])
def test_bound_weights_are_measured_too(changes: dict[str, Any]) -> None:
    chosen = training("small_cnn", evaluate=OF_IMAGES, regularizer={"kind": "none"}, **changes)
    outcome = train(chosen)
    assert isinstance(outcome, Finished)
    assert math.isfinite(outcome.metrics["nc3"])
    assert outcome.metrics["nll"] == pytest.approx(outcome.metrics["test_loss"], rel=1e-6)


def test_tables_have_a_row_for_each_choice() -> None:
    tables = measured("small_cnn", OF_IMAGES).tables
    assert [(row["attack"], row["epsilon"]) for row in tables["adversarial"]] == [
        (kind, epsilon) for kind in ("fgsm", "pgd") for epsilon in (0, 0.1, 0.3)
    ]
    assert len(tables["corruptions"]) == 7 * 2
    assert measured("small_cnn", {}).tables == {}


def test_a_run_that_was_interrupted_measures_the_same(tmp_path: Path) -> None:
    whole = measured("small_cnn", OF_IMAGES)
    chosen, folder = training("small_cnn", evaluate=OF_IMAGES), tmp_path
    asked_at_the_end = [False] * 6 + [False, True]  # before each update, then before the second piece of work
    for should_stop in (stop_after(3), iter(asked_at_the_end[3:]).__next__, lambda: False):
        outcome = train(
            chosen,
            callbacks=Callbacks(should_stop=should_stop, checkpoint_dir=folder),
            resume_from=checkpoint.latest(folder) if any(folder.iterdir()) else None,
        )
    assert isinstance(outcome, Finished)
    assert numbers(outcome) == numbers(whole)


def test_a_run_that_is_stopped_while_it_is_measured_is_stopped_after_its_last_step(tmp_path: Path) -> None:
    asked = iter([False] * 6 + [True])
    callbacks = Callbacks(should_stop=asked.__next__, checkpoint_dir=tmp_path)
    assert train(training("mlp", evaluate=OF_CLASSES), callbacks=callbacks) == Stopped(6)


def test_work_is_dealt_out_to_the_ranks_and_each_piece_is_done_once() -> None:
    dealt = []
    for rank in range(3):
        turns = Turns(World(rank, 3), lambda: False)
        turns.world = _Quiet(rank, 3)
        dealt.append([piece for piece, is_mine in turns.of("abcdefg") if is_mine])
    assert dealt == [["a", "d", "g"], ["b", "e"], ["c", "f"]]


class _Quiet(World):
    """A world whose ranks need no others to agree."""

    def agree(self, flag: bool) -> bool:
        return flag


def test_weights_that_were_frozen_stay_so() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2).requires_grad_(False))
    with passes.evaluating(model):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, False, False]


def test_a_request_to_stop_ends_the_work() -> None:
    asked = iter([False, True])
    turns = Turns(ALONE, asked.__next__).of("abc")
    assert next(turns) == ("a", True)
    with pytest.raises(Interrupted):
        next(turns)


def test_two_ranks_measure_what_one_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other rank is a process of its own, which reads the digits themselves.
    monkeypatch.undo()
    chosen = spec.ClassificationSpec(
        dataset=spec.Digits(),
        model=spec.SmallCNN(width=4),
        regularizer=spec.NoRegularizer(),
        duration=spec.Duration(steps=2),
        batch_size=100,
        evaluate=spec.Evaluate.model_validate(
            OF_IMAGES | {"features": {"measures": ["uniformity", "neural_collapse"]}}
        ),
        record=spec.Record(measures=()),
    )
    alone, together = (launch.train(chosen, processes=processes) for processes in (1, 2))
    assert isinstance(alone, Finished)
    assert isinstance(together, Finished)
    for name in METRICS & alone.metrics.keys() - set(TIMES):
        assert together.metrics[name] == pytest.approx(alone.metrics[name], rel=1e-3), name
    for table in ("adversarial", "corruptions"):
        one, two = ([row["accuracy"] for row in outcome.tables[table]] for outcome in (alone, together))
        assert two == pytest.approx(one, abs=2 / 360)  # the weights of two ranks are those of one up to rounding


def test_a_library_that_is_missing_is_told_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda _name: None)
    plain, report = recorder()
    with pytest.raises(ModuleNotFoundError, match=r"evaluate\.calibration needs torchmetrics: .*\[evaluate\]"):
        measured("mlp", {"calibration": {}}, callbacks=Callbacks(report=report))
    assert plain == {}
    measured("mlp", {"features": {"measures": ["alignment"]}})


def test_a_run_that_diverges_at_its_last_step_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("hsu_core.evaluations.at_the_end", measure)
    chosen = training("mlp", evaluate=OF_CLASSES, optimizer={"kind": "sgd", "lr": 1e30})
    assert not isinstance(train(chosen), Finished)
