"""What a run started from and what it got right, told so that runs can be paired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from short_runs import stop_after, training
from small_worlds import TRAININGS
from small_worlds import training as small_training

from hsu_core import spec
from hsu_core.outcomes import Answers, Finished, Hashes, Stopped
from hsu_core.tensor_names import MODEL
from hsu_core.training import checkpoint, hashes, launch
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

BY_TASK: dict[str, list[str]] = {
    "nodes": ["none", "mhe", "mgd", "srip", "koleo", "hug"],
    "recommendation": ["none", "mhe", "mgd", "srip"],
}
ELSE = ["none", "mhe", "mhs", "mhp", "mgd", "comhe", "srip", "koleo", "uniformity", "hug"]


def finished(chosen: spec.TrainingSpec, **how: Any) -> Finished:
    outcome = train(chosen, **how)
    assert isinstance(outcome, Finished)
    return outcome


def hashes_of(chosen: spec.TrainingSpec, **how: Any) -> Hashes:
    found = finished(chosen, **how).hashes
    assert found is not None
    return found


def right_of(answers: Answers) -> list[int]:
    return np.unpackbits(np.frombuffer(answers.bits, dtype=np.uint8), count=answers.count).tolist()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("network", TRAININGS)
def test_all_regularizers_start_from_the_same_weights_and_batches_for_one_seed(network: str) -> None:
    layers = {"layers": ["users"]} if TRAININGS[network]["task"] == "recommendation" else {}
    kinds = BY_TASK.get(TRAININGS[network]["task"], ELSE)
    asked = [{"kind": "none"} if kind == "none" else {"kind": kind} | layers for kind in kinds]
    found = [
        hashes_of(small_training(network, regularizer=each, duration={"steps": 1}, seed=seed))
        for seed in (3, 4)
        for each in asked
    ]
    assert len({each.data for each in found}) == 1
    first, second = found[: len(asked)], found[len(asked) :]
    starts = [{(each.initial_weights, each.first_batches) for each in part} for part in (first, second)]
    assert [len(each) for each in starts] == [1, 1]
    assert first[0].initial_weights != second[0].initial_weights
    assert first[0].first_batches != second[0].first_batches or TRAININGS[network]["task"] == "nodes"
    assert len({each.final_weights for each in first}) > 1


def test_bound_weights_are_other_tensors_so_only_the_batches_pair_them_with_free_ones() -> None:
    """A parametrization or a fixed classifier replaces parameters: no seed gives equal initial weights."""
    free, rotated, fixed = (
        hashes_of(training(duration={"steps": 1}, **changes))
        for changes in ({}, {"parametrization": {"kind": "oft"}}, {"classifier": {"kind": "max_separation"}})
    )
    assert len({each.initial_weights for each in (free, rotated, fixed)}) == 3
    assert len({each.first_batches for each in (free, rotated, fixed)}) == 1


def test_another_augmentation_or_batch_size_is_other_batches() -> None:
    changed: list[dict[str, Any]] = [{}, {"augment": "crop_flip"}, {"batch_size": 16}]
    assert len({hashes_of(training(duration={"steps": 1}, **each)).first_batches for each in changed}) == 3


def test_streamed_batches_are_the_same() -> None:
    one, other = (hashes_of(training(stream=streamed, duration={"steps": 1})) for streamed in (False, True))
    assert one == other


def test_the_final_weights_are_those_that_are_saved(tmp_path: Path) -> None:
    chosen = training(ema=0.9)
    found = hashes_of(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path))
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    tensors = {key.removeprefix(MODEL): each for key, each in load_file(saved).items() if key.startswith(MODEL)}
    model = torch.nn.Module()
    for name, each in tensors.items():
        model.register_buffer(name.replace(".", "_"), each)
    assert hashes.content_hash.of(dict(tensors)) == found.final_weights
    assert found.final_weights != found.initial_weights


def test_layout_does_not_count_but_shape_type_and_values_do() -> None:
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    of = hashes.content_hash.of
    assert of(x) == of(x.contiguous(memory_format=torch.channels_last)) == of(x.mT.contiguous().mT)
    others = [x.reshape(2, 1, 3, 4), x.double(), x + 1, x.bfloat16(), -x]
    assert len({of(x), *map(of, others)}) == 6
    assert of(np.arange(3)) != of(np.arange(3, dtype=np.int32))
    assert of(["ab", "c"]) != of(["a", "bc"])
    with pytest.raises(TypeError, match="found object"):
        of(object())


def test_a_resumed_run_tells_what_the_first_attempt_started_from(tmp_path: Path) -> None:
    chosen = training()
    whole = finished(chosen)
    for updates, step in ((1, 1), (6, 7)):
        stopping = Callbacks(checkpoint_dir=tmp_path, should_stop=stop_after(updates))
        assert train(chosen, resume_from=checkpoint.latest(tmp_path), callbacks=stopping) == Stopped(step)
    resumed = finished(chosen, resume_from=checkpoint.latest(tmp_path))
    assert (resumed.hashes, resumed.answers) == (whole.hashes, whole.answers)


def test_a_fork_tells_of_the_weights_that_it_continued_from(tmp_path: Path) -> None:
    parent = hashes_of(training(), callbacks=Callbacks(checkpoint_dir=tmp_path))
    fork = hashes_of(training(duration={"steps": 20}), resume_from=checkpoint.latest(tmp_path))
    assert fork.initial_weights == parent.final_weights
    assert fork.first_batches not in (parent.first_batches, None)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("network", TRAININGS)
def test_each_test_example_has_a_bit_and_their_mean_is_the_accuracy(network: str) -> None:
    found = finished(small_training(network))
    if TRAININGS[network]["task"] == "recommendation":
        assert found.answers is None
        return
    assert found.answers is not None
    right = right_of(found.answers)
    assert sum(right) / len(right) == pytest.approx(found.metrics["test_accuracy"], abs=1e-6)


def test_the_bits_are_in_the_order_of_the_test_set(tmp_path: Path) -> None:
    from hsu_core.data import reading
    from hsu_core.loading import load

    chosen = training(duration={"steps": 60}, optimizer={"kind": "sgd", "lr": 0.05})
    answers = finished(chosen, callbacks=Callbacks(checkpoint_dir=tmp_path)).answers
    saved = checkpoint.latest(tmp_path)
    assert saved is not None
    assert answers is not None
    data = reading.load(chosen.dataset, None)
    with torch.no_grad():
        logits = load(saved)((torch.from_numpy(data.test_x).float() - 127.5) / 128)
    expected = (logits.argmax(dim=1).numpy() == data.test_y).astype(int).tolist()
    assert 0 < sum(expected) < len(expected)
    assert right_of(answers) == expected


def test_two_ranks_tell_of_the_whole_test_set_and_of_the_same_weights() -> None:
    chosen = training(duration={"steps": 1})
    alone, together = finished(chosen), launch.train(chosen, processes=2)
    assert isinstance(together, Finished)
    assert together.answers is not None
    assert alone.hashes is not None
    assert together.hashes is not None
    assert together.answers.count == 360
    assert sum(right_of(together.answers)) / 360 == pytest.approx(together.metrics["test_accuracy"])
    assert together.hashes.initial_weights == alone.hashes.initial_weights
    assert together.hashes.data == alone.hashes.data
    again = launch.train(chosen, processes=2)
    assert isinstance(again, Finished)
    assert again.hashes == together.hashes
