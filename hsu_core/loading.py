"""How does the file of a checkpoint become a network again? With its own spec, without the service and the data set.

Reads a whole checkpoint, or its weights alone (`?part=weights`). Any other file of the network's tensors needs a spec
beside it. Nothing in a file is executed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hsu_core import models, spec
from hsu_core.models.texts import VOCABULARY
from hsu_core.spec import versions
from hsu_core.tensor_names import AVERAGE, AVERAGED, MODEL
from hsu_core.training import checkpoint
from hsu_core.training.checkpoint import CheckpointMismatch


def load(
    path: str | os.PathLike[str],
    *,
    made_by: spec.TrainingSpec | Mapping[str, Any] | None = None,
    average: bool = True,
) -> nn.Module:
    """The network in a file, on the CPU and in evaluation mode, with its weights bit for bit.

    `made_by` is the training spec, for a file that does not hold it. A training with `ema` evaluates an average of its
    weights: that is what is loaded; with `average=False`, the weights themselves. Raises CheckpointMismatch with what
    was expected and found; FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a checkpoint, found no file")
    tensors = _read(path)
    found = _chosen(tensors, average=average)
    network = _built(_spec_of(path, made_by), found)
    if reason := _misfit(network.state_dict(), found):
        raise CheckpointMismatch(f"{path}: {reason}")
    network.load_state_dict(found)
    return network.eval()


def training_of(stored: Mapping[str, Any]) -> spec.TrainingSpec:
    """The training of the spec of a job, in the present shape. ValueError for a task that trains no network."""
    return _parsed(versions.upgraded(stored))


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointMismatch(f"{path}: expected a safetensors file, found: {error}") from error


def _spec_of(path: Path, given: spec.TrainingSpec | Mapping[str, Any] | None) -> spec.TrainingSpec:
    if isinstance(given, spec.TrainingSpec):
        return given
    if given is None:
        try:
            stored = checkpoint.describe(path).spec
        except CheckpointMismatch as error:
            raise CheckpointMismatch(f"{error}; give the training spec as made_by") from error
    else:
        stored = versions.upgraded(given)
    return _parsed(stored)


def _parsed(stored: Mapping[str, Any]) -> spec.TrainingSpec:
    """The training of a stored spec, without what only a service needs to know: its name, tags and limits."""
    kinds, classes = spec.kinds(spec.AnyTraining, tag="task"), spec.members(spec.AnyTraining)
    task = stored.get("task", kinds[0])
    known = dict(zip(kinds, classes, strict=True)).get(task)
    if known is None:
        raise ValueError(f"expected the spec of a task that trains a network ({', '.join(kinds)}), found {task!r}")
    own = {name: value for name, value in stored.items() if name in known.model_fields}
    return spec.TRAINING.validate_python({**own, "task": task})


def _built(training: spec.TrainingSpec, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network of a spec; one of texts also has the vocabulary that was learned from its data."""
    network = models.prepared(training, training.dataset.facts)
    vocabulary = tensors.get(VOCABULARY)
    if vocabulary is not None and isinstance(training, spec.TextsSpec):
        network.register_buffer(VOCABULARY, vocabulary)
    return network


def _chosen(tensors: dict[str, Tensor], *, average: bool) -> dict[str, Tensor]:
    """The network's tensors by their names in it; those of a file that is no checkpoint as they are."""
    for prefix in (AVERAGE + AVERAGED, MODEL) if average else (MODEL,):
        if found := {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}:
            return found
    return tensors


def _misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        return (
            f"expected the tensors of the spec's network; it lacks {', '.join(missing[:5]) or 'none'}, "
            f"and has {', '.join(unknown[:5]) or 'none'} beyond them"
        )
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            return f"expected {name} of shape {tuple(value.shape)}, found {tuple(found[name].shape)}"
    return None
