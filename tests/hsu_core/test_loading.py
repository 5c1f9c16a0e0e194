"""The file of a checkpoint becomes the network that was trained, bit for bit, without the service."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_worlds import TRAININGS, training
from torch import nn

import hsu_core
from hsu_core import spec, tasks
from hsu_core.outcomes import Finished, Saved
from hsu_core.spec.versions import UnknownVersion
from hsu_core.tasks import Task
from hsu_core.training import checkpoint
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.checkpoint import CheckpointMismatch
from hsu_core.training.loop import train

pytestmark = pytest.mark.usefixtures("small")

CHANGES = {
    "as it is": {},
    "with an average": {"ema": 0.5},
    "with rotated neurons": {"parametrization": {"kind": "oft", "block": 4}},
}


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Task[Any, Any]]:
    """The tasks of the trainings, each with its network."""
    made: list[Task[Any, Any]] = []
    prepare = tasks.prepare

    def noted(*given: Any, **more: Any) -> Task[Any, Any]:
        made.append(prepare(*given, **more))
        return made[-1]

    monkeypatch.setattr(tasks, "prepare", noted)
    return made


def trained(chosen: spec.TrainingSpec, folder: Path, **callbacks: Any) -> Path:
    outcome = train(chosen, callbacks=Callbacks(checkpoint_dir=folder, **callbacks))
    assert isinstance(outcome, Finished), outcome
    path = checkpoint.latest(folder)
    assert path is not None
    return path


def assert_equal(one: Any, other: Any) -> None:
    for mine, its in zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]:
        assert torch.equal(mine, its)


@pytest.mark.parametrize("network", TRAININGS)
def test_weights_and_outputs_are_those_of_the_network_at_the_end_of_its_training(
    network: str, tmp_path: Path, prepared: list[Task[Any, Any]]
) -> None:
    states: list[nn.Module] = []

    def saved(_state: Saved) -> None:
        states.append(copy.deepcopy(prepared[0].model))  # the last step still measures, which moves batch norms

    path = trained(training(network), tmp_path, saved=saved)
    loaded = hsu_core.load(path)
    (task,) = prepared
    real = states[-1].eval()
    assert not loaded.training
    assert loaded.state_dict().keys() == real.state_dict().keys()
    for name, value in real.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    batch = next(task.batches(0))
    with torch.no_grad():
        assert_equal(task.outputs(loaded, batch), task.outputs(real, batch))


@pytest.mark.parametrize("changed", CHANGES)
def test_what_is_loaded_is_what_evaluations_were_of(changed: str, tmp_path: Path) -> None:
    saved = load_file(path := trained(training("small_cnn", **CHANGES[changed]), tmp_path))
    loaded, itself = hsu_core.load(path).state_dict(), hsu_core.load(path, average=False).state_dict()
    for name in loaded:
        assert torch.equal(loaded[name], saved.get(f"average/module.{name}", saved[f"model/{name}"]))
        assert torch.equal(itself[name], saved[f"model/{name}"])
    assert (changed == "with an average") == any(not torch.equal(loaded[name], itself[name]) for name in loaded)


def test_a_file_without_a_spec_takes_one_beside_it(tmp_path: Path) -> None:
    chosen = training("small_cnn")
    whole = trained(chosen, tmp_path / "whole")
    own = {name: value for name, value in load_file(whole).items() if name.startswith("model/")}
    bare = tmp_path / "bare.safetensors"
    save_file({name.removeprefix("model/"): value for name, value in own.items()}, bare)
    with pytest.raises(CheckpointMismatch, match="found None; give the training spec as made_by"):
        hsu_core.load(bare)
    of_service = {**chosen.model_dump(mode="json"), "name": "as the service stores it", "tags": ["a"], "version": 1}
    for given in (chosen, of_service):
        loaded = hsu_core.load(bare, made_by=given).state_dict()
        assert all(torch.equal(loaded[name], value) for name, value in hsu_core.load(whole).state_dict().items())


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = trained(training("mlp"), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"it lacks .*conv1.*, and has .*hidden1"):
        hsu_core.load(path, made_by=training("small_cnn"))
    wider = {"kind": "mlp", "hidden": [13, 8]}
    with pytest.raises(CheckpointMismatch, match=r"expected hidden1.weight of shape \(13, 64\), found \(12, 64\)"):
        hsu_core.load(path, made_by=training("mlp", model=wider))
    plain = training("mlp").model_dump(mode="json")
    with pytest.raises(ValueError, match=r"a task that trains a network \(classification, .*found 'points'"):
        hsu_core.load(path, made_by={**plain, "task": "points"})
    with pytest.raises(UnknownVersion, match="spec version 9"):
        hsu_core.load(path, made_by={**plain, "version": 9})
    with pytest.raises(ValidationError):
        hsu_core.load(path, made_by={**plain, "model": {"kind": "mlp", "hidden": [0]}})


def test_a_file_that_is_none_or_no_checkpoint_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, found no file"):
        hsu_core.load(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("weights", encoding="utf-8")
    with pytest.raises(CheckpointMismatch, match="expected a safetensors file, found"):
        hsu_core.load(str(text))


def test_a_checkpoint_holds_tensors_and_json_and_nothing_else(tmp_path: Path) -> None:
    path = trained(training("small_cnn", ema=0.5), tmp_path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = len(file.read())
    assert set(header.pop("__metadata__")) == {"hsu"}
    with safe_open(path, framework="pt") as opened:
        assert json.loads(opened.metadata()["hsu"]).keys() == {"format", "step", "spec", "scores", "origin"}
    ends = sorted(tuple(about["data_offsets"]) for about in header.values())
    assert [0, *(end for _, end in ends)] == [*(begin for begin, _ in ends), data]  # no byte belongs to no tensor
    assert {name.partition("/")[0] for name in header} == {"model", "optimizer", "average"}


def test_asking_for_something_else_or_nothing_loads_no_torch() -> None:
    program = "import hsu_core, sys; print(hasattr(hsu_core, 'lode'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
