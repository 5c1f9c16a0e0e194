"""How is the complete state of a run stored? In one safetensors file, with its description as JSON in the header.

Complete means that a run resumed from it ends as if it had never stopped, bit for bit on a CPU: weights, buffers, the
optimizer's state, the kept state of a penalty, and the scores so far. Data order, augmentation and learning rate are
functions of the seed and the step. Never pickle: a checkpoint may come from elsewhere, and loading must not run code.

Knows one file at a time. `saving` decides when a file is written; the owner of the folder decides which files are kept,
as other jobs may still need them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from hsu_core import spec
from hsu_core.outcomes import Saved
from hsu_core.spec import versions
from hsu_core.tensor_names import AVERAGE, AVERAGED, MODEL, OPTIMIZER, PENALTY

FORMAT = 2


class CheckpointMismatch(Exception):
    """A file is not a checkpoint, is damaged, or is of another model or optimizer; the message says what differs."""


class CheckpointOfNewerVersion(CheckpointMismatch):
    """A newer service wrote the spec in the file: only a service of that version can resume from it."""


class Scores(NamedTuple):
    """The results of the evaluations up to a step: values of the task's primary metric."""

    last: float | None = None
    best: float | None = None
    best_step: int | None = None
    at_best: dict[str, float] | None = None
    """All that was evaluated at the best step."""


class Origin(NamedTuple):
    """What a run was at its first step, which a resumed run cannot see any more. None in files that do not tell it."""

    initial_weights: str | None = None
    """The hash of the weights before the first update."""
    first_batches: str | None = None
    """The hash of the first batches."""
    factor: float | None = None
    """By which `strength` multiplies the weights of the penalty; None without it."""


NO_ORIGIN = Origin()


class Description(NamedTuple):
    """A checkpoint's description of itself."""

    step: int
    """Number of updates made."""
    spec: dict[str, Any]
    """The training spec that made it, as JSON values, in the present shape (`hsu_core/spec/versions.py`)."""
    scores: Scores
    origin: Origin = NO_ORIGIN


def save(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    penalty: nn.Module,
    average: nn.Module | None = None,
    step: int,
    made_by: spec.TrainingSpec,
    scores: Scores,
    origin: Origin = NO_ORIGIN,
) -> Saved:
    """Write `step-….safetensors` into the folder, completely or not at all. OSError if the disk does not take it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    header = {"format": FORMAT, "step": step, "spec": _stored(made_by), "scores": scores._asdict()}
    header["origin"] = origin._asdict()
    tensors = {name: value.detach().contiguous() for name, value in _state(model, optimizer, penalty, average).items()}
    content = serialized(tensors, metadata={"hsu": json.dumps(header)})
    _write(path, content)
    return Saved(
        step,
        path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        metric=scores.last,
        is_best=scores.best_step == step,
    )


def latest(folder: Path) -> Path | None:
    """The checkpoint of the highest step in the folder, if there is one."""
    return max(folder.glob("step-*.safetensors"), default=None)


def verify(path: Path, sha256: str) -> None:
    """Read the whole file; raises CheckpointMismatch unless it exists and is bit for bit what was saved."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except FileNotFoundError as error:
        raise CheckpointMismatch(f"{path}: expected a checkpoint, found no file") from error
    if found != sha256:
        raise CheckpointMismatch(f"{path}: expected content of sha256 {sha256}, found {found} in {size} bytes")


def describe(path: Path) -> Description:
    """The checkpoint's description, without reading its tensors; raises CheckpointMismatch."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("hsu", "{}"))
    except (SafetensorError, ValueError) as error:
        raise CheckpointMismatch(f"{path}: expected a checkpoint, found: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointMismatch(f"{path}: expected a checkpoint of format {FORMAT}, found {header.get('format')}")
    return Description(
        header["step"], _upgraded(header["spec"], path), Scores(**header["scores"]), Origin(**header.get("origin", {}))
    )


def is_of(description: Description, wanted: spec.TrainingSpec) -> bool:
    """Whether a run of this very spec wrote the file, so that its scores and its origin are those of the run."""
    return description.spec == _stored(wanted)


def factor_for(description: Description, wanted: spec.TrainingSpec) -> float | None:
    """The factor of the penalty's weights, if the spec asks for the same strength of the same penalty."""
    asked = wanted.model_dump(mode="json", include={"regularizer", "strength"})
    is_same = all(description.spec.get(name) == asked.get(name) for name in ("regularizer", "strength"))
    return description.origin.factor if is_same else None


def load(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    penalty: nn.Module,
    average: AveragedModel | None = None,
    wanted: spec.TrainingSpec,
) -> tuple[int, Scores]:
    """Set everything to the saved state and return its step and scores; raises CheckpointMismatch before any change.

    A penalty's kept state (poles, projections) is restored if the regularizer is the same, else it starts anew. An
    average of the weights that the file does not have starts as its weights. The scores start anew if the spec differs
    at all: the best of another run is not the best of this one.
    """
    description = describe(path)
    _check("model", wanted.model.model_dump(mode="json"), description.spec["model"], path)
    for bound in ("parametrization", "classifier"):
        _check(bound, wanted.model_dump(mode="json").get(bound), description.spec.get(bound), path)
    _check("optimizer", wanted.optimizer.kind, description.spec["optimizer"]["kind"], path)
    tensors = load_file(path)
    found, kept = _under(MODEL, tensors), _under(PENALTY, tensors)
    _check("tensors", _shapes(model.state_dict()), _shapes(found), path)
    if description.spec["regularizer"] == wanted.regularizer.model_dump(mode="json"):
        _check("penalty", _shapes(penalty.state_dict()), _shapes(kept), path)
        penalty.load_state_dict(kept)
    model.load_state_dict(found)
    optimizer.load_state_dict(
        {"state": _optimizer_state(tensors, model, optimizer), "param_groups": optimizer.state_dict()["param_groups"]}
    )
    if average is not None:
        as_the_model = {
            "n_averaged": average.n_averaged,
            **{f"{AVERAGED}{name}": value for name, value in found.items()},
        }
        average.load_state_dict(_under(AVERAGE, tensors) or as_the_model)
    return description.step, description.scores if is_of(description, wanted) else Scores()


def _state(model: nn.Module, optimizer: Optimizer, penalty: nn.Module, average: nn.Module | None) -> dict[str, Tensor]:
    """Every tensor: those of modules as in their state dicts, `optimizer/…` by parameter and key."""
    names = _names(model, optimizer)
    moments = optimizer.state_dict()["state"]
    return {
        **{MODEL + name: value for name, value in model.state_dict().items()},
        **{PENALTY + name: value for name, value in penalty.state_dict().items()},
        **{AVERAGE + name: value for name, value in (average.state_dict() if average else {}).items()},
        **{
            f"{OPTIMIZER}{names[index]}/{key}": value
            for index, state in moments.items()
            for key, value in state.items()
            if value is not None  # with momentum 0 there is no buffer
        },
    }


def _stored(made_by: spec.TrainingSpec) -> dict[str, Any]:
    """A spec as stored in a file: with its version, for specs of a service as well as of the library alone."""
    return {**made_by.model_dump(mode="json"), "version": versions.PRESENT}


def _upgraded(stored: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return versions.upgraded(stored)
    except versions.NewerVersion as error:
        raise CheckpointOfNewerVersion(f"{path}: its spec cannot be read: {error}") from error
    except versions.UnknownVersion as error:
        raise CheckpointMismatch(f"{path}: its spec cannot be read: {error}") from error


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """The names of the optimizer's parameters, in its own order, which is that of its groups."""
    by_identity = {id(parameter): name for name, parameter in model.named_parameters()}
    return [by_identity[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_state(
    tensors: dict[str, Tensor], model: nn.Module, optimizer: Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The optimizer's state by the index of a parameter, in the parameter's own memory layout.

    The layout is not saved, and another layout could change the order of a sum and so the last bit.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for index, name in enumerate(_names(model, optimizer)):
        prefix, parameter = f"{OPTIMIZER}{name}/", model.get_parameter(name)
        of_parameter = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if of_parameter:
            state[index] = {key: _laid_out_as(parameter, value) for key, value in of_parameter.items()}
    return state


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value  # AdamW keeps its number of steps in a scalar
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _check(what: str, expected: object, found: object, path: Path) -> None:
    if expected != found:
        raise CheckpointMismatch(f"{path}: expected a checkpoint with {what} {expected}, found {found}")


def _write(path: Path, content: bytes) -> None:
    """Write durably and atomically. The one hidden name is overwritten after a kill, and removed after a failure."""
    partial = path.parent / ".partial"
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
