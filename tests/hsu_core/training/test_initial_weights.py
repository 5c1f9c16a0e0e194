"""Does a training start from the weights that it is told, and is a file that does not fit refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from short_runs import recorder, stop_after, training

from hsu_core import models, spec
from hsu_core.outcomes import Series
from hsu_core.training import checkpoint
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.initial_weights import InitialMismatch, InitialNotFound
from hsu_core.training.loop import train

LOSS = Series(None, "loss")


def weights(name: str) -> dict[str, Any]:
    return {"kind": "file", "path": name}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The checkpoint of a short training, as a file of the data folder."""
    train(training(duration={"steps": 10}), callbacks=Callbacks(checkpoint_dir=tmp_path / "weights"))
    found = checkpoint.latest(tmp_path / "weights")
    assert found is not None
    return found


def first_loss(asked: spec.ClassificationSpec, **how: Any) -> float:
    curves, report = recorder()
    train(asked, callbacks=Callbacks(report=report, should_stop=stop_after(1)), **how)
    return curves[0][LOSS]


def test_it_starts_from_a_checkpoint_or_a_plain_file_as_from_the_model_itself(trained: Path, tmp_path: Path) -> None:
    plain = {
        name.removeprefix("model/"): value for name, value in load_file(trained).items() if name.startswith("model/")
    }
    save_file(plain, tmp_path / "plain.safetensors")
    of_checkpoint = training(initial=weights(f"weights/{trained.name}"))
    of_file = training(initial=weights("plain.safetensors"))
    of_job = training(initial={"kind": "job", "job": 7, "step": 10})
    losses = {
        first_loss(of_checkpoint, data_dir=tmp_path),
        first_loss(of_file, data_dir=tmp_path),
        first_loss(of_job, initial_from=trained),
    }
    assert len(losses) == 1
    assert losses != {first_loss(training())}


def test_what_is_left_keeps_its_own_first_values(trained: Path, tmp_path: Path) -> None:
    asked = training(initial=weights(f"weights/{trained.name}") | {"leave": ["classifier.*"]}, duration={"steps": 1})
    train(asked, data_dir=tmp_path, callbacks=Callbacks(checkpoint_dir=tmp_path / "own", should_stop=stop_after(0)))
    found, before = load_file(tmp_path / "own" / "step-000000000.safetensors"), load_file(trained)
    drawn = models.build(asked.model, asked.dataset.facts, seed=asked.seed)
    assert torch.equal(found["model/conv2.weight"], before["model/conv2.weight"])
    assert torch.equal(found["model/classifier.weight"], drawn.classifier.weight)


def test_neurons_of_the_file_may_be_rotated_together_and_a_fixed_classifier_stays(
    trained: Path, tmp_path: Path
) -> None:
    asked = training(
        initial=weights(f"weights/{trained.name}"),
        parametrization={"kind": "oft", "block": 4},
        classifier={"kind": "max_separation"},
        duration={"steps": 1},
    )
    train(asked, data_dir=tmp_path, callbacks=Callbacks(checkpoint_dir=tmp_path / "own", should_stop=stop_after(0)))
    found, before = load_file(tmp_path / "own" / "step-000000000.safetensors"), load_file(trained)
    assert torch.equal(found["model/conv2.parametrizations.weight.original"], before["model/conv2.weight"])
    assert torch.equal(found["model/norm2.running_mean"], before["model/norm2.running_mean"])
    drawn = models.prepared(asked, asked.dataset.facts)
    assert torch.equal(found["model/classifier.weight"], drawn.classifier.weight)
    again = training(initial=weights("own/step-000000000.safetensors"), parametrization={"kind": "oft", "block": 4})
    assert first_loss(again, data_dir=tmp_path) > 0


def test_a_resumed_run_needs_the_file_no_more(trained: Path, tmp_path: Path) -> None:
    asked = training(initial=weights(f"weights/{trained.name}"), duration={"steps": 6})
    own = tmp_path / "own"
    train(asked, data_dir=tmp_path, callbacks=Callbacks(checkpoint_dir=own, should_stop=stop_after(3)))
    saved = checkpoint.latest(own)
    trained.unlink()
    curves, report = recorder()
    train(asked, resume_from=saved, callbacks=Callbacks(report=report))
    assert max(curves) == 6


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"kind": "small_cnn", "width": 8}, r"expected conv1.weight of shape \(8, 1, 3, 3\), found \(4, 1, 3, 3\)"),
        ({"kind": "mlp"}, "expected tensors hidden1.weight"),
    ],
)
def test_weights_of_another_network_are_refused(
    trained: Path, tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    asked = training(model=model, initial=weights(f"weights/{trained.name}"))
    with pytest.raises(InitialMismatch, match=message):
        train(asked, data_dir=tmp_path)


def test_a_file_that_is_missing_or_is_none_is_told(tmp_path: Path) -> None:
    asked = training(initial=weights("none.safetensors"))
    with pytest.raises(InitialNotFound, match="no data folder was given"):
        train(asked)
    with pytest.raises(InitialNotFound, match="cannot be read"):
        train(asked, data_dir=tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InitialNotFound, match="cannot be read"):
        train(training(initial=weights("folder")), data_dir=tmp_path)
    (tmp_path / "none.safetensors").write_text("no weights")
    with pytest.raises(InitialMismatch, match="expected a safetensors file"):
        train(asked, data_dir=tmp_path)
    with pytest.raises(ValueError, match="expected the checkpoint of step 3 of job 5, found none"):
        train(training(initial={"kind": "job", "job": 5, "step": 3}))


@pytest.mark.parametrize("path", ["/etc/passwd", "../up.safetensors", "a/../../b", "", "a//b", "a/.hidden"])
def test_a_path_cannot_leave_the_data_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="string_pattern_mismatch"):
        training(initial=weights(path))
