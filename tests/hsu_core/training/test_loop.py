"""Whole training runs on real data: they learn, report what they promise, and resume exactly."""

import math
import os
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import largest_file
from safetensors.torch import load_file

from hsu_core import energies, models, regularizers, spec
from hsu_core.data import files
from hsu_core.measures import references
from hsu_core.outcomes import Diverged, Finished, Reference, Saved, Series, Stopped
from hsu_core.regularizers.layers import layers
from hsu_core.training import checkpoint, saving
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

Curves = dict[int, Mapping[Series, float]]

TEST = Series(None, "test_accuracy")


def training(**changes: Any) -> spec.TrainingSpec:
    return spec.TrainingSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "small_cnn", "width": 4},
            "regularizer": {"kind": "mhe"},
            "schedule": {"kind": "constant"},
            "duration": {"steps": 12},
            "batch_size": 32,
            "record": {"every": 5, "measures": ["mhe_s2_half", "min_angle"]},
        }
        | changes
    )


def recorder() -> tuple[Curves, Callable[[int, Mapping[Series, float]], None]]:
    curves: Curves = {}

    def report(step: int, values: Mapping[Series, float]) -> None:
        assert step not in curves, "all values of a step come in one call"
        curves[step] = values

    return curves, report


def stop_after(updates: int) -> Callable[[], bool]:
    asked = count()
    return lambda: next(asked) == updates


def die_after(updates: int) -> Callable[[], bool]:
    asked = count()

    def alive() -> bool:
        if next(asked) == updates:
            raise KeyboardInterrupt
        return False

    return alive


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


@pytest.mark.parametrize("optimizer", [{"kind": "sgd", "nesterov": True}, {"kind": "adamw", "lr": 0.01}])
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


def test_layers_that_cannot_be_spread_are_told_with_the_end() -> None:
    outcome = train(training(model={"kind": "mlp", "hidden": [1, 8]}, regularizer={"kind": "mhs"}))
    assert isinstance(outcome, Finished)
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


# --- it stops, resumes, diverges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [{"kind": "sgd"}, {"kind": "sgd", "momentum": 0}, {"kind": "adamw"}])
@pytest.mark.parametrize("model", [{"kind": "small_cnn", "width": 4}, {"kind": "mlp", "hidden": [16, 8]}])
def test_a_run_that_was_stopped_twice_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, optimizer: dict[str, Any], model: dict[str, Any]
) -> None:
    chosen = training(optimizer=optimizer, model=model, duration={"steps": 50}, schedule={"kind": "cosine"})
    whole, report = recorder()
    train(chosen, callbacks=Callbacks(report=report, checkpoint_dir=tmp_path / "whole"))

    pieces: Curves = {}
    folder, resume_from = tmp_path / "pieces", None
    for updates, expected in ((0, Stopped(0)), (7, Stopped(7)), (40, Stopped(47))):
        outcome = train(
            chosen,
            resume_from=resume_from,
            callbacks=Callbacks(report=pieces.__setitem__, should_stop=stop_after(updates), checkpoint_dir=folder),
        )
        assert outcome == expected
        resume_from = checkpoint.latest(folder)
    train(chosen, resume_from=resume_from, callbacks=Callbacks(report=pieces.__setitem__, checkpoint_dir=folder))

    assert pieces == whole
    name = "step-000000050.safetensors"
    one, other = load_file(tmp_path / "whole" / name), load_file(folder / name)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "regularizer",
    [
        {"kind": "mhe"},
        {"kind": "mhp", "inner": {"kind": "fresh"}},
        {"kind": "mhp", "inner": {"kind": "authors"}},
        {"kind": "comhe", "projection": "random", "dimension": 4, "projections": 3},
        {"kind": "comhe", "projection": "angle", "dimension": 4},
        {"kind": "comhe", "projection": "adversarial", "dimension": 4},
    ],
    ids=["mhe", "mhp fresh", "mhp authors", "comhe random", "comhe angle", "comhe adversarial"],
)
def test_an_augmented_run_that_was_stopped_at_random_ends_bit_for_bit_as_one_that_was_not(
    tmp_path: Path, regularizer: dict[str, Any]
) -> None:
    chosen = training(
        regularizer=regularizer,
        augment="crop_flip",
        duration={"steps": 30},
        schedule={"kind": "cosine"},
        record={"every": 7, "measures": ["mhe_s2"]},
        evaluate={"every": 11},
    )
    whole: list[Saved] = []
    train(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path / "whole", saved=whole.append))

    drawn = random.Random(0)
    stops, pieces = 0, list[Saved]()
    folder, resume_from = tmp_path / "pieces", None
    while isinstance(
        train(
            chosen,
            resume_from=resume_from,
            callbacks=Callbacks(
                should_stop=stop_after(drawn.randint(0, 7)), checkpoint_dir=folder, saved=pieces.append
            ),
        ),
        Stopped,
    ):
        stops, resume_from = stops + 1, checkpoint.latest(folder)
    assert stops >= 5
    assert pieces[-1].sha256 == whole[-1].sha256, "every tensor, and the scores"


@pytest.mark.parametrize(
    "regularizer",
    [
        {"kind": "mhe"},
        {"kind": "mhp", "inner": {"kind": "authors"}},
        {"kind": "comhe", "projection": "adversarial", "dimension": 4},
    ],
    ids=["mhe", "mhp", "comhe"],
)
def test_an_augmented_run_that_dies_at_random_ends_bit_for_bit_as_one_that_did_not(
    tmp_path: Path, regularizer: dict[str, Any]
) -> None:
    chosen = training(
        regularizer=regularizer,
        augment="crop_flip",
        duration={"steps": 60},
        schedule={"kind": "cosine"},
        record={"every": 15, "measures": ["mhe_s2"]},
        checkpoint={"every": 4},
    )
    whole, report = recorder()
    train(chosen, callbacks=Callbacks(report=report, checkpoint_dir=tmp_path / "whole"))

    drawn = random.Random(0)
    deaths, pieces, folder = 0, Curves(), tmp_path / "pieces"
    while True:
        with suppress(KeyboardInterrupt):
            train(
                chosen,
                resume_from=checkpoint.latest(folder),
                callbacks=Callbacks(
                    report=pieces.__setitem__, should_stop=die_after(drawn.randint(5, 12)), checkpoint_dir=folder
                ),
            )
            break
        deaths += 1
    assert deaths >= 5
    assert pieces == whole
    one, other = (load_file(folder / "step-000000060.safetensors") for folder in (tmp_path / "whole", folder))
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        ({"every": 5}, [5, 10, 12]),
        ({"seconds": 1e-9}, list(range(1, 13))),
        ({"every": 5, "seconds": None}, [5, 10, 12]),
        ({}, [12]),
    ],
    ids=["steps", "seconds", "steps alone", "by default"],
)
def test_checkpoints_are_saved_as_often_as_asked_and_at_the_end(
    tmp_path: Path, policy: dict[str, Any], steps: list[int]
) -> None:
    told: list[Saved] = []
    train(training(checkpoint=policy), callbacks=Callbacks(checkpoint_dir=tmp_path, saved=told.append))
    assert [one.step for one in told] == steps
    assert [one.path for one in told] == sorted(tmp_path.iterdir())
    for one in told:
        checkpoint.verify(one.path, one.sha256)
        assert checkpoint.describe(one.path).step == one.step


def test_every_better_evaluation_is_saved_and_an_interrupted_run_marks_the_same(tmp_path: Path) -> None:
    chosen = training(
        model={"kind": "mlp", "hidden": [8]},
        optimizer={"kind": "sgd", "lr": 0.5},
        duration={"steps": 30},
        evaluate={"every": 3},
        checkpoint={"keep_best": True, "seconds": None},
    )
    curves, report = recorder()
    whole: list[Saved] = []
    train(chosen, callbacks=Callbacks(report=report, checkpoint_dir=tmp_path / "whole", saved=whole.append))
    accuracy = {step: values[TEST] for step, values in curves.items() if TEST in values}
    best = [step for step in accuracy if accuracy[step] > max((a for s, a in accuracy.items() if s < step), default=-1)]
    assert [one.step for one in whole if one.is_best] == best
    assert 1 < len(best) < len(accuracy), "some evaluations are better than all before, and some are not"
    assert [(one.step, one.metric) for one in whole] == [(step, accuracy[step]) for step in sorted({*best, 30})]

    pieces: list[Saved] = []
    resume_from, folder = None, tmp_path / "pieces"
    for updates in (best[0], best[1] - best[0], 2, 4, 10**9):  # at a best evaluation, at another, and elsewhere
        train(
            chosen,
            resume_from=resume_from,
            callbacks=Callbacks(should_stop=stop_after(updates), checkpoint_dir=folder, saved=pieces.append),
        )
        resume_from = checkpoint.latest(folder)
    of_content = {one.step: one.sha256 for one in pieces}
    assert [(one.step, one.metric) for one in pieces if one.is_best] == [
        (one.step, one.metric) for one in whole if one.is_best
    ]
    assert {one.step: one.sha256 for one in whole}.items() <= of_content.items()


def test_a_disk_that_takes_no_checkpoint_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PATIENCE", 0)
    chosen = training(checkpoint={"every": 5})
    told: list[Saved] = []

    def fill_the_disk(done: Saved) -> None:
        told.append(done)
        limits.enter_context(largest_file(done.bytes - 1))

    with ExitStack() as limits:
        outcome = train(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path, saved=fill_the_disk))
        again = train(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path, should_stop=stop_after(7)))
    assert isinstance(outcome, Finished)
    assert "File too large" in str(outcome.unsaved)
    assert isinstance(again, Stopped)
    assert "File too large" in str(again.unsaved)
    assert "the checkpoint of step 10 could not be saved: [Errno 27] File too large" in caplog.messages
    assert [one.path for one in told] == list(tmp_path.iterdir())
    checkpoint.verify(told[0].path, told[0].sha256)
    assert not isinstance(resumed := train(chosen, resume_from=told[0].path), Stopped)
    assert resumed.step == 12


def test_the_last_state_waits_until_the_disk_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Saved] = []
    with ExitStack() as limits:
        limits.enter_context(largest_file(1000))
        monkeypatch.setattr(saving.time, "sleep", lambda _: limits.close())
        outcome = train(training(), callbacks=Callbacks(checkpoint_dir=tmp_path, saved=told.append))
    assert isinstance(outcome, Finished)
    assert outcome.unsaved is None
    assert [one.step for one in told] == [12]


def test_the_next_checkpoint_may_succeed(tmp_path: Path) -> None:
    told: list[Saved] = []
    with ExitStack() as limits:
        limits.enter_context(largest_file(1000))

        def empty_the_disk(step: int, values: Mapping[Series, float]) -> None:
            if step == 5:
                limits.close()

        outcome = train(
            training(checkpoint={"every": 5}),
            callbacks=Callbacks(checkpoint_dir=tmp_path, report=empty_the_disk, saved=told.append),
        )
    assert isinstance(outcome, Finished)
    assert outcome.unsaved is None
    assert [one.step for one in told] == [10, 12]


def test_resuming_at_the_end_only_looks(tmp_path: Path) -> None:
    train(training(), callbacks=Callbacks(checkpoint_dir=tmp_path))
    curves, report = recorder()
    outcome = train(training(), resume_from=checkpoint.latest(tmp_path), callbacks=Callbacks(report=report))
    assert isinstance(outcome, Finished)
    assert list(curves) == [12]


def test_a_checkpoint_beyond_the_last_step_is_refused(tmp_path: Path) -> None:
    train(training(), callbacks=Callbacks(checkpoint_dir=tmp_path))
    with pytest.raises(ValueError, match="a checkpoint of at most 3 steps, found one of 12"):
        train(training(duration={"steps": 3}), resume_from=checkpoint.latest(tmp_path))


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


def data_dir(dataset: spec.Dataset) -> Path:
    """Where the set is, or a skip that says what is missing."""
    folder = os.environ.get("HSU_DATA_DIR")
    try:
        files.require(dataset, Path(folder) if folder else None)
    except files.DatasetNotFound as missing:
        pytest.skip(f"set HSU_DATA_DIR: {missing}")
    return Path(folder or "")


@pytest.mark.dataset
def test_fashion_mnist_reaches_85_percent_in_two_epochs() -> None:
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
def test_cnn9_makes_20_steps_on_cifar100() -> None:
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


@pytest.mark.parametrize(
    "regularizer",
    [
        {"kind": "mhp", "inner": {"kind": "authors"}},
        {"kind": "mhc"},
        {"kind": "comhe", "projection": "adversarial", "dimension": 4},
        {"kind": "srip"},
        {"kind": "mhe", "every": 3, "schedule": {"kind": "warmup", "fraction": 0.5}},
        {"kind": "koleo"},
    ],
    ids=lambda regularizer: regularizer["kind"],
)
def test_what_a_penalty_keeps_or_draws_resumes_bit_for_bit(regularizer: dict[str, Any], tmp_path: Path) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    chosen = training(regularizer=regularizer, checkpoint={"every": 5}, record={"every": 4, "measures": ["mhe_s2"]})
    train(chosen, callbacks=Callbacks(checkpoint_dir=whole))
    train(chosen, resume_from=whole / "step-000000005.safetensors", callbacks=Callbacks(checkpoint_dir=interrupted))
    last = "step-000000012.safetensors"
    assert (whole / last).read_bytes() == (interrupted / last).read_bytes()
