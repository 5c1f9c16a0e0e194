"""Whole training runs on real data: they learn, report what they promise, and end when a number is not finite."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from short_runs import recorder, training

from hsu_core import energies, models, regularizers, spec
from hsu_core.measures import references
from hsu_core.outcomes import Diverged, Finished, Reference, Series
from hsu_core.regularizers.layers import layers
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

# --- it learns --------------------------------------------------------------------------------------------------------


def test_digits_with_half_space_mhe_reach_95_percent_while_every_energy_falls() -> None:
    curves, report = recorder()
    outcome = train(
        training(
            model={"kind": "small_cnn"},
            regularizer={"kind": "mhe", "hidden_weight": 20},
            schedule={"kind": "cosine"},
            duration={"epochs": 8},
            batch_size=64,
        ),
        callbacks=Callbacks(report=report),
    )
    assert isinstance(outcome, Finished)
    assert outcome.metrics["test_accuracy"] >= 0.95
    first, last = curves[0], curves[outcome.step]
    for layer in ("conv1", "conv2", "conv3"):
        assert last[Series(layer, "mhe_s2_half")] < first[Series(layer, "mhe_s2_half")]


@pytest.mark.parametrize(
    "optimizer", [{"kind": "sgd", "nesterov": True}, {"kind": "adamw", "lr": 0.01}, {"kind": "muon", "lr": 0.01}]
)
@pytest.mark.parametrize("regularizer", [{"kind": "none"}, {"kind": "mhs"}, {"kind": "mhe", "s": 0, "angular": True}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_way_to_train_lowers_the_loss(
    optimizer: dict[str, Any], regularizer: dict[str, Any], precision: str
) -> None:
    curves, report = recorder()
    chosen = training(optimizer=optimizer, regularizer=regularizer, precision=precision, duration={"steps": 44})
    assert isinstance(train(chosen, callbacks=Callbacks(report=report)), Finished)
    assert curves[44][Series(None, "loss")] < 0.9 * curves[0][Series(None, "loss")]


def weights_after(steps: int, folder: Path, regularizer: dict[str, Any], *, resume_from: Path | None = None) -> Path:
    """The checkpoint of so many steps of plain descent, without momentum and decay."""
    plain = {"kind": "sgd", "lr": 0.05, "momentum": 0, "weight_decay": 0}
    chosen = training(regularizer=regularizer, optimizer=plain, duration={"steps": steps})
    train(chosen, resume_from=resume_from, callbacks=Callbacks(checkpoint_dir=folder))
    return folder / f"step-{steps:09}.safetensors"


def test_a_penalty_of_every_second_step_acts_there_twice_as_strong_and_not_at_all_in_between(tmp_path: Path) -> None:
    seldom, twice = (
        {"kind": "mhe", "hidden_weight": factor, "final_weight": factor, "every": every}
        for factor, every in ((1, 2), (2, 1))
    )
    first, strong = (weights_after(1, tmp_path / str(one["every"]), one) for one in (seldom, twice))
    second = weights_after(2, tmp_path / "both", seldom)
    without = weights_after(2, tmp_path / "then none", {"kind": "none"}, resume_from=first)
    for one, other in ((first, strong), (second, without)):
        found, expected = load_file(one), load_file(other)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


# --- it reports -------------------------------------------------------------------------------------------------------


def test_points_come_at_the_start_as_often_as_asked_at_evaluations_and_at_the_end() -> None:
    curves, report = recorder()
    train(training(evaluate={"every": 4}), callbacks=Callbacks(report=report))
    of_a_step = {Series(None, name) for name in ("loss", "penalty", "accuracy", "learning_rate")} | {
        Series(layer, measure)
        for layer in ("conv1", "conv2", "conv3", "classifier")
        for measure in ("mhe_s2_half", "min_angle")
    }
    of_a_test = {Series(None, "test_loss"), Series(None, "test_accuracy")}
    assert {step: set(values) for step, values in curves.items()} == {
        0: of_a_step,
        4: of_a_test,
        5: of_a_step,
        8: of_a_test,
        10: of_a_step,
        12: of_a_step | of_a_test,
    }


def test_step_0_describes_the_initial_weights() -> None:
    curves, report = recorder()
    chosen = training()
    train(chosen, callbacks=Callbacks(report=report))
    model = models.build(chosen.model, chosen.dataset.facts, seed=chosen.seed)
    for layer in layers(model):
        by_hand = energies.riesz(layer.points().double(), half_space=True).item()
        assert curves[0][Series(layer.name, "mhe_s2_half")] == pytest.approx(by_hand, abs=1e-5)
    penalty = regularizers.build(chosen.regularizer, model)().item()
    assert curves[0][Series(None, "penalty")] == pytest.approx(penalty)


def test_a_curve_does_not_depend_on_how_often_or_how_long_it_is_recorded() -> None:
    curves, report = recorder()
    more, report_more = recorder()
    train(training(), callbacks=Callbacks(report=report))
    train(
        training(duration={"steps": 15}, record={"every": 1}, evaluate={"every": 2}),
        callbacks=Callbacks(report=report_more),
    )
    for step, values in curves.items():
        assert {series: more[step][series] for series in values if not series.measure.startswith("test")} == {
            series: value for series, value in values.items() if not series.measure.startswith("test")
        }


@pytest.mark.parametrize("regularizer", ["none", "mhe"])
def test_what_to_compare_a_layer_with_is_told_once_and_first_whatever_the_job_optimises(regularizer: str) -> None:
    told: list[Mapping[Series, Reference]] = []
    curves, report = recorder()
    chosen = training(regularizer={"kind": regularizer}, duration={"steps": 1}, record={"layers": ["conv1", "c*r"]})

    def first(found: Mapping[Series, Reference]) -> None:
        assert not curves
        told.append(found)

    train(chosen, callbacks=Callbacks(describe=first, report=report))
    (found,) = told
    assert set(found) == {series for series in curves[0] if series.layer}
    for layer, shape in (("conv1", (4, 9)), ("classifier", (10, 8))):
        of_shape = references.of_shape(*shape, spec.MEASURES)
        assert {name: found[Series(layer, name)] for name in spec.MEASURES} == of_shape


def test_only_the_chosen_layers_are_measured() -> None:
    curves, report = recorder()
    train(
        training(duration={"steps": 1}, record={"layers": ["conv[12]", "classifier"]}),
        callbacks=Callbacks(report=report),
    )
    assert {series.layer for series in curves[0]} == {None, "conv1", "conv2", "classifier"}
    assert len(curves[0]) == 4 + 3 * len(spec.MEASURES)


def test_a_pattern_that_matches_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="'fc' matches no layer; there are conv1, conv2, conv3, classifier"):
        train(training(record={"layers": ["conv*", "fc"]}))


def test_layers_that_cannot_be_spread_are_told_once_and_first_and_with_the_end() -> None:
    told: list[Mapping[str, str]] = []
    curves, report = recorder()

    def skipped(layers: Mapping[str, str]) -> None:
        assert not curves
        told.append(dict(layers))

    asked = training(model={"kind": "mlp", "hidden": [1, 8]}, regularizer={"kind": "mhs"})
    outcome = train(asked, callbacks=Callbacks(skipped=skipped, report=report))
    assert isinstance(outcome, Finished)
    assert told == [outcome.skipped_layers]
    train(training(duration={"steps": 1}), callbacks=Callbacks(skipped=skipped))
    assert len(told) == 1  # nothing was left out
    assert outcome.skipped_layers == {
        "hidden1": "has a single neuron: there is no pair to spread",
        "hidden2": "has neurons of a single dimension: there are only two directions",
    }


@pytest.mark.parametrize(("kind", "has_gap"), [("mhp", True), ("mhc", True), ("mhe", False)])
def test_the_inner_gap_of_poles_is_a_curve_of_every_layer(kind: str, *, has_gap: bool) -> None:
    curves, report = recorder()
    train(training(regularizer={"kind": kind}), callbacks=Callbacks(report=report))
    for step in (0, 5, 10, 12):
        gaps = {series.layer: value for series, value in curves[step].items() if series.measure == "inner_gap"}
        assert list(gaps) == (["conv1", "conv2", "conv3", "classifier"] if has_gap else [])
        assert all(0 <= gap < math.inf for gap in gaps.values())


def test_metrics_are_those_of_the_last_point() -> None:
    curves, report = recorder()
    outcome = train(training(), callbacks=Callbacks(report=report))
    assert isinstance(outcome, Finished)
    last = curves[12]
    for metric, name in [("test_accuracy",) * 2, ("test_loss",) * 2, ("penalty",) * 2, ("train_loss", "loss")]:
        assert outcome.metrics[metric] == last[Series(None, name)]
    assert outcome.metrics["parameters"] == 4 * 9 + 8 * 36 + 8 * 72 + 10 * 8 + 2 * (4 + 8 + 8)
    assert outcome.metrics["steps_per_second"] == pytest.approx(12 / outcome.metrics["seconds"])


def test_the_global_generators_are_neither_read_nor_moved() -> None:
    curves, report = recorder()
    again, report_again = recorder()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(training(), callbacks=Callbacks(report=report))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    train(training(), callbacks=Callbacks(report=report_again))
    assert again == curves


# --- it diverges -----------------------------------------------------------------------------------------------------


def test_weights_that_are_no_longer_finite_end_the_run_at_their_layer() -> None:
    curves, report = recorder()
    outcome = train(training(optimizer={"kind": "sgd", "lr": 1e30}), callbacks=Callbacks(report=report))
    assert outcome == Diverged(5, "conv1", "weights")
    assert math.isnan(curves[5][Series("conv1", "mhe_s2_half")])


@pytest.mark.parametrize("regularizer", [{"kind": "none"}, {"kind": "mhs"}, {"kind": "koleo"}])
def test_an_evaluation_of_weights_that_are_not_finite_is_the_last_point(regularizer: dict[str, Any]) -> None:
    curves, report = recorder()
    rare = {"record": {"every": 1000, "measures": ["mhe_s2"]}, "evaluate": {"every": 3}}
    outcome = train(
        training(optimizer={"kind": "sgd", "lr": 1e30}, regularizer=regularizer, **rare),
        callbacks=Callbacks(report=report),
    )
    assert outcome == Diverged(3, "conv1", "weights")
    assert list(curves) == [0, 3]


def test_an_infinite_penalty_ends_the_run_at_its_layer() -> None:
    # 40 neurons in 2 dimensions with s = 64: some pair is so close that the energy overflows float32.
    chosen = training(model={"kind": "mlp", "hidden": [2, 40]}, regularizer={"kind": "mhe", "s": 64})
    assert train(chosen) == Diverged(0, "hidden2", "penalty")


def test_an_infinite_loss_ends_the_run_without_naming_a_layer() -> None:
    # The weights stay finite where the logits do not: float32 ends at 3e38.
    chosen = training(
        model={"kind": "mlp", "hidden": [16] * 3},
        regularizer={"kind": "none"},
        optimizer={"kind": "sgd", "lr": 1e12, "momentum": 0, "weight_decay": 0},
        duration={"steps": 1},
    )
    assert train(chosen) == Diverged(1, None, "loss")


# --- the real sets ----------------------------------------------------------------------------------------------------


@pytest.mark.dataset
def test_fashion_mnist_reaches_85_percent_in_two_epochs(data_dir: Callable[[spec.Dataset], Path]) -> None:
    chosen = training(
        dataset={"kind": "fashion-mnist"},
        model={"kind": "small_cnn", "width": 16},
        schedule={"kind": "cosine"},
        duration={"epochs": 2},
        batch_size=128,
        record={"every": 100},
        precision="bf16",
    )
    outcome = train(chosen, data_dir=data_dir(chosen.dataset))
    assert isinstance(outcome, Finished)
    assert outcome.metrics["test_accuracy"] >= 0.85


@pytest.mark.dataset
def test_cnn9_makes_20_steps_on_cifar100(data_dir: Callable[[spec.Dataset], Path]) -> None:
    chosen = training(
        dataset={"kind": "cifar100"},
        model={"kind": "cnn9"},
        optimizer={"kind": "sgd", "lr": 0.01},
        duration={"steps": 20},
        precision="bf16",
    )
    curves, report = recorder()
    outcome = train(chosen, data_dir=data_dir(chosen.dataset), callbacks=Callbacks(report=report))
    assert isinstance(outcome, Finished)
    assert outcome.metrics["parameters"] == 2_995_520
    assert {series.layer for series in curves[20]} >= {"conv1_1", "conv3_3", "fc", "classifier"}
