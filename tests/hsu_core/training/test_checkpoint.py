"""A checkpoint is whole or absent, and says so when it does not fit."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import largest_file
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from hsu_core import models, spec
from hsu_core.outcomes import Saved
from hsu_core.spec import versions
from hsu_core.training import checkpoint

NOTHING_SCORED = checkpoint.Scores()
STATELESS = torch.nn.Identity()
"""A penalty that keeps nothing."""


def training(**changes: Any) -> spec.ClassificationSpec:
    return spec.ClassificationSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "small_cnn", "width": 4},
            "regularizer": {"kind": "none"},
            "duration": {"steps": 2},
        }
        | changes
    )


def written(folder: Path, made_by: spec.ClassificationSpec, *, step: int = 1) -> Saved:
    """A checkpoint of a model after an update."""
    model, optimizer = started(made_by, steps=1)
    return checkpoint.save(
        folder, model, optimizer, penalty=STATELESS, step=step, made_by=made_by, scores=NOTHING_SCORED
    )


def started(made_by: spec.ClassificationSpec, *, steps: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer after some updates."""
    model = models.build(made_by.model, made_by.dataset.facts, seed=0)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    extra = {"momentum": 0.9} if made_by.optimizer.kind == "sgd" else {}
    optimizer = kinds[made_by.optimizer.kind](model.parameters(), lr=0.1, **extra)  # type: ignore[arg-type]
    for _ in range(steps):
        model(torch.ones(2, 1, 8, 8)).square().sum().backward()
        optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("steps", [0, 2])
def test_loading_restores_every_tensor_and_its_memory_layout(tmp_path: Path, kind: str, steps: int) -> None:
    made_by = training(optimizer={"kind": kind})
    model, optimizer = started(made_by, steps=steps)
    scores = checkpoint.Scores(last=0.1 + 0.2, best=1 / 3, best_step=1)
    path = checkpoint.save(
        tmp_path, model, optimizer, penalty=STATELESS, step=steps, made_by=made_by, scores=scores
    ).path
    other, other_optimizer = started(made_by)
    assert checkpoint.load(path, other, other_optimizer, penalty=STATELESS, wanted=made_by) == (steps, scores)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    state, restored = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert state.keys() == restored.keys()
    for index in state:
        for key, value in state[index].items():
            assert torch.equal(value, restored[index][key])
            assert value.stride() == restored[index][key].stride()


def test_a_checkpoint_describes_itself(tmp_path: Path) -> None:
    made_by = training()
    path = written(tmp_path, made_by, step=7).path
    stored = made_by.model_dump(mode="json") | {"version": 1}
    assert checkpoint.describe(path) == (7, stored, NOTHING_SCORED, checkpoint.NO_ORIGIN)


def test_a_file_from_before_origins_were_told_has_none(tmp_path: Path) -> None:
    told = written(tmp_path, training(), step=7)
    with safe_open(told.path, framework="pt") as file:
        header = json.loads(file.metadata()["hsu"])
    del header["origin"]
    save_file(load_file(told.path), told.path, metadata={"hsu": json.dumps(header)})
    assert checkpoint.describe(told.path).origin == checkpoint.NO_ORIGIN


def test_what_saving_tells_is_true_of_the_file(tmp_path: Path) -> None:
    told = written(tmp_path, training(), step=7)
    content = told.path.read_bytes()
    assert told == Saved(
        7, tmp_path / "step-000000007.safetensors", hashlib.sha256(content).hexdigest(), len(content), None, False
    )
    checkpoint.verify(told.path, told.sha256)


def test_a_bit_that_flipped_inside_a_tensor_is_found(tmp_path: Path) -> None:
    told = written(tmp_path, training())
    content = bytearray(told.path.read_bytes())
    content[-100] ^= 1
    told.path.write_bytes(content)
    load_file(told.path)  # the format itself does not notice
    with pytest.raises(
        checkpoint.CheckpointMismatch, match=f"sha256 {told.sha256}, found [0-9a-f]{{64}} in {told.bytes} bytes"
    ):
        checkpoint.verify(told.path, told.sha256)


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 1000), Path.unlink], ids=["shortened", "removed"])
def test_a_file_that_lost_bytes_or_is_gone_is_found(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    told = written(tmp_path, training())
    damage(told.path)
    with pytest.raises(checkpoint.CheckpointMismatch, match=r"in 1000 bytes|found no file"):
        checkpoint.verify(told.path, told.sha256)


def test_scores_start_anew_with_another_spec(tmp_path: Path) -> None:
    made_by, wanted = training(), training(seed=1)
    model, optimizer = started(made_by)
    scores = checkpoint.Scores(0.5, 0.5, 1)
    told = checkpoint.save(tmp_path, model, optimizer, penalty=STATELESS, step=1, made_by=made_by, scores=scores)
    assert told.is_best
    assert checkpoint.load(told.path, *started(wanted), penalty=STATELESS, wanted=wanted) == (1, NOTHING_SCORED)


def stored_with(told: Saved, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file with another spec in its header."""
    with safe_open(told.path, framework="pt") as file:
        header = json.loads(file.metadata()["hsu"])
    change(header["spec"])
    save_file(load_file(told.path), told.path, metadata={"hsu": json.dumps(header)})
    return told.path


def test_a_checkpoint_of_the_time_before_versions_is_of_the_same_run(tmp_path: Path) -> None:
    made_by = training()
    scores = checkpoint.Scores(0.5, 0.5, 1)
    told = checkpoint.save(
        tmp_path, *started(made_by, steps=1), penalty=STATELESS, step=1, made_by=made_by, scores=scores
    )
    path = stored_with(told, lambda spec: spec.pop("version"))
    assert checkpoint.load(path, *started(made_by), penalty=STATELESS, wanted=made_by) == (1, scores)


def test_a_checkpoint_with_an_older_spec_is_upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_by = training()
    path = stored_with(written(tmp_path, made_by), lambda spec: spec.update(network=spec.pop("model")))
    with pytest.raises(KeyError):
        checkpoint.load(path, *started(made_by), penalty=STATELESS, wanted=made_by)
    monkeypatch.setattr(versions, "PRESENT", 2)
    monkeypatch.setattr(versions, "UPGRADES", {1: _network_is_model})
    assert checkpoint.load(path, *started(made_by), penalty=STATELESS, wanted=made_by)[0] == 1


def _network_is_model(tree: dict[str, Any]) -> dict[str, Any]:
    tree["model"] = tree.pop("network")
    return tree


def test_a_checkpoint_with_a_newer_spec_says_which(tmp_path: Path) -> None:
    made_by = training()
    path = stored_with(written(tmp_path, made_by), lambda spec: spec.update(version=9))
    with pytest.raises(checkpoint.CheckpointOfNewerVersion, match="written by spec version 9"):
        checkpoint.load(path, *started(made_by), penalty=STATELESS, wanted=made_by)


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".partial").write_bytes(b"of a process that was killed while it wrote")
    for step in (3, 10, 10):
        written(tmp_path, training(), step=step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000003.safetensors",
        "step-000000010.safetensors",
    ]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-000000010.safetensors"


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, list[str]]] = []

    def sync(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), [path.name for path in tmp_path.iterdir()]))

    monkeypatch.setattr(os, "fsync", sync)
    told = written(tmp_path, training())
    assert synced == [(tmp_path / ".partial", [".partial"]), (tmp_path, [told.path.name])]


def test_an_empty_folder_has_no_latest_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None


def test_a_save_that_the_disk_does_not_take_leaves_the_earlier_file_and_nothing_partial(tmp_path: Path) -> None:
    told = written(tmp_path, training())
    with largest_file(told.bytes - 1), pytest.raises(OSError, match="File too large"):
        written(tmp_path, training())
    checkpoint.verify(told.path, told.sha256)
    assert list(tmp_path.iterdir()) == [told.path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"kind": "small_cnn", "width": 8}}, "a checkpoint with model .*'width': 8.*, found .*'width': 4"),
        ({"optimizer": {"kind": "adamw"}}, "a checkpoint with optimizer adamw, found sgd"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    made_by, wanted = training(), training(**changes)
    path = written(tmp_path, made_by).path
    model, optimizer = started(wanted)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(checkpoint.CheckpointMismatch, match=message):
        checkpoint.load(path, model, optimizer, penalty=STATELESS, wanted=wanted)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step-1.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(checkpoint.CheckpointMismatch, match=f"{path}: expected a checkpoint, found"):
        checkpoint.describe(path)


def test_tensors_without_a_description_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(checkpoint.CheckpointMismatch, match="a checkpoint of format 2, found None"):
        checkpoint.describe(tmp_path / "x.safetensors")
