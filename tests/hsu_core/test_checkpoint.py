"""A checkpoint is whole or absent, and says so when it does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hsu_core import checkpoint, models, spec

STATELESS = torch.nn.Identity()
"""A penalty that keeps nothing."""


def training(**changes: Any) -> spec.TrainingSpec:
    return spec.TrainingSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "small_cnn", "width": 4},
            "regularizer": {"kind": "none"},
            "duration": {"steps": 2},
        }
        | changes
    )


def started(made_by: spec.TrainingSpec, *, steps: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
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
    path = checkpoint.save(tmp_path, model, optimizer, penalty=STATELESS, step=steps, made_by=made_by)
    other, other_optimizer = started(made_by)
    assert checkpoint.load(path, other, other_optimizer, penalty=STATELESS, wanted=made_by) == steps
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
    path = checkpoint.save(tmp_path, *started(made_by), penalty=STATELESS, step=7, made_by=made_by)
    assert checkpoint.describe(path) == (7, made_by.model_dump(mode="json"))


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    made_by = training()
    for step in (3, 10, 10):
        checkpoint.save(tmp_path, *started(made_by), penalty=STATELESS, step=step, made_by=made_by)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000003.safetensors",
        "step-000000010.safetensors",
    ]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-000000010.safetensors"


def test_an_empty_folder_has_no_latest_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path) -> None:
    made_by = training()
    path = checkpoint.save(tmp_path, *started(made_by), penalty=STATELESS, step=1, made_by=made_by)
    before = path.read_bytes()
    model, optimizer = started(made_by)
    model.register_buffer("tied", model.get_parameter("conv1.weight").detach())  # safetensors refuses shared memory
    with pytest.raises(RuntimeError, match="share memory"):
        checkpoint.save(tmp_path, model, optimizer, penalty=STATELESS, step=1, made_by=made_by)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


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
    path = checkpoint.save(tmp_path, *started(made_by, steps=1), penalty=STATELESS, step=1, made_by=made_by)
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
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(checkpoint.CheckpointMismatch, match="a checkpoint of format 1, found None"):
        checkpoint.describe(tmp_path / "x.safetensors")
