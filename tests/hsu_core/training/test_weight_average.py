"""Is the moving average what its formula says, is it what is evaluated, and does it survive a stop?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from short_runs import assert_resumes_bit_for_bit, recorder, stop_after, training
from torch import nn

from hsu_core import tasks
from hsu_core.data import reading
from hsu_core.outcomes import Series
from hsu_core.training import checkpoint, weight_average
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train


def test_each_update_moves_it_by_the_same_share() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = weight_average.of(model, decay=0.75)
    assert average is not None
    for value, expected in ((2.0, 1.25), (3.0, 1.6875)):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        assert average.module.weight.tolist() == [[expected, expected]]


def test_without_a_decay_there_is_none() -> None:
    assert weight_average.of(nn.Linear(1, 1), decay=None) is None


def test_what_is_evaluated_is_the_average_and_what_is_trained_is_as_without(tmp_path: Path) -> None:
    chosen = {"duration": {"steps": 8}, "model": {"kind": "small_cnn"}, "evaluate": {"every": 4}}
    with_average, without = training(**chosen, ema=0.9), training(**chosen)
    (curves, report), (plain, report_plain) = recorder(), recorder()
    train(with_average, callbacks=Callbacks(report=report, checkpoint_dir=tmp_path / "with"))
    train(without, callbacks=Callbacks(report=report_plain, checkpoint_dir=tmp_path / "without"))
    loss, test_loss = Series(None, "loss"), Series(None, "test_loss")
    assert curves[8][loss] == plain[8][loss]
    assert curves[8][test_loss] != plain[8][test_loss]

    kept, own = (load_file(tmp_path / name / "step-000000008.safetensors") for name in ("with", "without"))
    assert {name for name in kept if not name.startswith("average/")} == own.keys()
    assert all(torch.equal(kept[name], own[name]) for name in own)
    task = tasks.prepare(with_average, reading.load(with_average.dataset, None), device=torch.device("cpu"))
    prefix = "average/module."
    task.model.load_state_dict({name.removeprefix(prefix): kept[name] for name in kept if name.startswith(prefix)})
    assert task.evaluated()["test_loss"].item() == pytest.approx(curves[8][test_loss], rel=1e-6)


def test_a_run_with_all_options_of_the_recipe_resumes_bit_for_bit(tmp_path: Path) -> None:
    chosen = training(
        duration={"steps": 9},
        model={"kind": "small_cnn"},
        optimizer={"kind": "sgd", "lr": 0.05, "norm_decay": 0.0, "bias_decay": 1e-3, "dampening": 0.1},
        schedule={"kind": "multi_step", "milestones": [3, 6], "warmup": 2},
        loss={"kind": "cross_entropy", "label_smoothing": 0.01, "softmax_floor": 1e-4},
        batch_norm={"momentum": 0.01, "eps": 1e-3, "debiased": True},
        initialisation="orthogonal",
        augment="crop_flip",
        augment_padding="symmetric",
        epoch_steps=4,
        clip_norm=1.0,
        ema=0.9,
        record={"every": 2, "l2": True},
        evaluate={"every": 3},
    )
    assert_resumes_bit_for_bit(chosen, tmp_path, stopped_at=5)


def test_a_fork_that_begins_an_average_begins_at_the_weights(tmp_path: Path) -> None:
    chosen = {"model": {"kind": "mlp"}, "evaluate": {"every": 3}}
    train(training(**chosen, duration={"steps": 3}), callbacks=Callbacks(checkpoint_dir=tmp_path))
    curves, report = recorder()
    fork = training(**chosen, duration={"steps": 3}, ema=0.99)
    train(fork, resume_from=checkpoint.latest(tmp_path), callbacks=Callbacks(report=report))
    plain, report = recorder()
    train(
        training(**chosen, duration={"steps": 3}),
        resume_from=checkpoint.latest(tmp_path),
        callbacks=Callbacks(report=report),
    )
    assert curves[3][Series(None, "test_loss")] == plain[3][Series(None, "test_loss")]


def test_a_gradient_longer_than_the_bound_is_scaled_down_to_it(tmp_path: Path) -> None:
    plain = {"kind": "sgd", "lr": 1.0, "momentum": 0, "weight_decay": 0}
    common = {"model": {"kind": "mlp"}, "optimizer": plain, "schedule": {"kind": "constant"}, "duration": {"steps": 1}}
    start = {"should_stop": stop_after(0), "checkpoint_dir": tmp_path / "start"}
    train(training(**common), callbacks=Callbacks(**start))
    moved = {}
    for name, clip in (("long", None), ("short", 1e-2)):
        train(training(**common, clip_norm=clip), callbacks=Callbacks(checkpoint_dir=tmp_path / name))
        before = load_file(tmp_path / "start" / "step-000000000.safetensors")
        after = load_file(tmp_path / name / "step-000000001.safetensors")
        moved[name] = torch.cat([(after[key] - before[key]).flatten() for key in before if key.startswith("model/")])
    assert moved["long"].norm() > 0.1
    assert moved["short"].norm().item() == pytest.approx(1e-2, rel=1e-3)
    direction = {name: step / step.norm() for name, step in moved.items()}
    torch.testing.assert_close(direction["short"], direction["long"], atol=1e-4, rtol=0)
