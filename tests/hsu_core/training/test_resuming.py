"""Interrupted training runs: states are saved as asked, and a resumed run ends bit for bit as one never stopped."""

import random
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import largest_file
from safetensors.torch import load_file
from short_runs import TEST, Curves, die_after, recorder, stop_after, training

from hsu_core.outcomes import Finished, Saved, Series, Stopped
from hsu_core.training import checkpoint, saving
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train


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


@pytest.mark.parametrize(
    "regularizer",
    [
        {"kind": "mhp", "inner": {"kind": "authors"}},
        {"kind": "mhc"},
        {"kind": "comhe", "projection": "adversarial", "dimension": 4},
        {"kind": "srip"},
        {"kind": "mhe", "every": 3, "schedule": {"kind": "warmup", "fraction": 0.5}},
        {"kind": "koleo"},
        {"kind": "hug"},
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
