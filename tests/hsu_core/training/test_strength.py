"""A penalty as strong as asked: the right factor, found once, and a training that nothing of it changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from short_runs import assert_resumes_bit_for_bit, recorder, stop_after, training
from small_worlds import TRAININGS
from small_worlds import training as small_training

from hsu_core import regularizers, spec, tasks
from hsu_core.data import reading
from hsu_core.outcomes import Finished, Stopped
from hsu_core.training import checkpoint, launch, strength
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

KINDS = [kind for kind in spec.kinds(spec.Regularizer) if kind != "none"]
RATIO = {"gradient_ratio": 0.25, "batches": 3}
LAGGING: list[dict[str, Any]] = [
    {"kind": "mhp", "preset": "authors"},
    {"kind": "comhe", "projection": "angle", "dimension": 4},
    {"kind": "mhe", "every": 2},
]


def finished(chosen: spec.TrainingSpec, **how: Any) -> Finished:
    outcome = train(chosen, **how)
    assert isinstance(outcome, Finished)
    return outcome


def assert_as_by_hand(chosen: spec.TrainingSpec, folder: Path) -> None:
    """With the resulting weights in its spec, the training is the same to the bit."""
    curves, report = recorder()
    found = finished(chosen, callbacks=Callbacks(report=report, checkpoint_dir=folder / "found"))
    assert found.strength is not None
    regularizer = json.loads(chosen.regularizer.model_dump_json()) | found.strength.weights
    by_hand = type(chosen).model_validate(
        chosen.model_dump(mode="json") | {"strength": None, "regularizer": regularizer}
    )
    expected, report = recorder()
    given = finished(by_hand, callbacks=Callbacks(report=report, checkpoint_dir=folder / "given"))
    assert given.strength is None
    assert curves == expected
    assert found.hashes == given.hashes
    one, other = (load_file(latest) for name in ("found", "given") if (latest := checkpoint.latest(folder / name)))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("regularizer", [*({"kind": kind} for kind in KINDS), *LAGGING], ids=str)
def test_the_training_is_that_of_the_resulting_weights_bit_for_bit(regularizer: dict[str, Any], tmp_path: Path) -> None:
    assert_as_by_hand(training(regularizer=regularizer, strength=RATIO, duration={"steps": 4}), tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("network", TRAININGS)
def test_so_it_is_for_every_network(network: str, tmp_path: Path) -> None:
    assert_as_by_hand(small_training(network, strength=RATIO), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_norm": {"debiased": True}},
        {"ema": 0.9},
        {"parametrization": {"kind": "oft"}},
        {"classifier": {"kind": "max_separation"}},
        {"precision": "bf16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_batch_norms_averages_and_bound_weights_are_as_if_nothing_was_computed(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    assert_as_by_hand(training(**changes, strength=RATIO, duration={"steps": 3}), tmp_path)


@pytest.mark.parametrize("kind", ["mhe", "uniformity", "hug"])
def test_the_factor_is_the_ratio_of_the_mean_norms_of_separate_backward_passes(kind: str) -> None:
    chosen = training(regularizer={"kind": kind, "schedule": {"kind": "warmup", "fraction": 1.0}}, strength=RATIO)
    task = tasks.prepare(chosen, reading.load(chosen.dataset, None), device=torch.device("cpu"))
    steady = chosen.regularizer.model_copy(update={"schedule": spec.Steady()})
    penalty = regularizers.build(steady, task.model, seed=chosen.seed, final="classifier")
    sums = {"loss": 0.0, "penalty": 0.0}
    for step, batch in zip(range(3), task.batches(0), strict=False):
        norms = {}
        for part in ("penalty", "loss"):
            task.model.zero_grad(set_to_none=True)
            loss = task.loss(task.outputs(task.model, batch), batch)
            classes = task.known_classes(batch) if penalty.needs_classes else None
            (loss if part == "loss" else penalty.value(step, lr=0.1, classes=classes)).backward()
            reached = {name for name, own in task.model.named_parameters() if own.grad is not None}
            norms[part] = (reached, {name: own.grad for name, own in task.model.named_parameters()})
        among = norms["penalty"][0]
        for part, (_, gradients) in norms.items():
            sums[part] += sum(float(gradients[name].double().square().sum()) for name in among) ** 0.5
    found = finished(chosen).strength
    assert found is not None
    assert found.factor == pytest.approx(0.25 * sums["loss"] / sums["penalty"], rel=1e-6)
    assert found.weights == spec.weights_of(spec.scaled(chosen.regularizer, found.factor))


def test_twice_the_ratio_or_half_the_weight_is_twice_the_factor() -> None:
    def factor(ratio: float, weight: float) -> float:
        asked = {"kind": "mhe", "hidden_weight": weight, "final_weight": weight}
        found = finished(training(regularizer=asked, strength={"gradient_ratio": ratio}, duration={"steps": 1}))
        assert found.strength is not None
        return found.strength.factor

    assert factor(0.2, 1.0) == pytest.approx(2 * factor(0.1, 1.0))
    assert factor(0.1, 0.5) == pytest.approx(2 * factor(0.1, 1.0), rel=1e-5)


@pytest.mark.parametrize("regularizer", [{"kind": "mhe"}, *LAGGING], ids=str)
def test_a_resumed_run_ends_bit_for_bit_as_one_that_was_not_stopped(
    regularizer: dict[str, Any], tmp_path: Path
) -> None:
    assert_resumes_bit_for_bit(training(regularizer=regularizer, strength=RATIO), tmp_path, stopped_at=7)


def test_a_resumed_run_does_not_find_the_factor_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = training(strength=RATIO)
    assert train(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path, should_stop=stop_after(7))) == Stopped(7)
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    kept = checkpoint.describe(saved).origin.factor
    monkeypatch.delattr(strength, "factor")
    found = finished(chosen, resume_from=saved).strength
    assert found is not None
    assert found.factor == kept


def test_a_fork_with_another_strength_finds_it_at_the_weights_that_it_starts_from(tmp_path: Path) -> None:
    authors = {"kind": "mhp", "preset": "authors"}
    parent = training(strength=RATIO, regularizer=authors)
    train(parent, callbacks=Callbacks(checkpoint_dir=tmp_path, should_stop=stop_after(7)))
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    before, same = finished(parent).strength, finished(parent, resume_from=saved).strength
    other = finished(
        training(strength={"gradient_ratio": 0.25, "batches": 2}, regularizer=authors), resume_from=saved
    ).strength
    longer = finished(training(strength=RATIO, regularizer=authors, duration={"steps": 20}), resume_from=saved).strength
    assert before == same == longer
    assert other is not None
    assert before is not None
    assert other.factor != before.factor


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"regularizer": {"kind": "none"}}, "found none"),
        ({"regularizer": {"kind": "mhe", "hidden_weight": 0.0, "final_weight": 0.0}}, "weights of 0 alone"),
        ({"regularizer": {"kind": "uniformity", "weight": 0.0}}, "weights of 0 alone"),
    ],
)
def test_without_a_penalty_it_is_refused_with_its_place(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        training(strength={"gradient_ratio": 0.1}, **changes)
    (error,) = refused.value.errors()
    assert (error["loc"], error["type"]) == (("strength",), "no_penalty")
    assert told in error["msg"]


@pytest.mark.parametrize("asked", [{}, {"gradient_ratio": 0}, {"gradient_ratio": 0.1, "batches": 1001}])
def test_its_numbers_have_bounds(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        training(strength=asked)


def test_old_specs_do_not_name_it() -> None:
    assert "strength" not in training().model_dump(mode="json")


def test_a_penalty_without_a_gradient_ends_the_run_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsu_core.fast.riesz", lambda w, **_: 0.0 * w.sum())
    with pytest.raises(strength.NoSuchStrength, match=r"no gradient .* ‖∇ mhe‖ = 0"):
        train(training(strength=RATIO))


def test_weights_beyond_all_numbers_end_the_run_with_the_reason() -> None:
    with pytest.raises(strength.NoSuchStrength, match="out of all bounds"):
        train(training(strength={"gradient_ratio": 1e38}))


def test_two_ranks_find_what_one_process_finds_up_to_rounding(tmp_path: Path) -> None:
    for regularizer in ({"kind": "mhe"}, {"kind": "uniformity"}, {"kind": "mhp", "preset": "authors"}):
        chosen = training(
            regularizer=regularizer, strength=RATIO, model={"kind": "small_cnn", "width": 4}, duration={"steps": 1}
        )
        together = launch.train(chosen, processes=2)
        alone = finished(chosen)
        assert isinstance(together, Finished)
        assert together.strength is not None
        assert alone.strength is not None
        assert together.strength.factor == pytest.approx(alone.strength.factor, rel=1e-4)
