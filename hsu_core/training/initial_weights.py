"""How does a network take over the weights of a file, before its first step?"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.tensor_names import MODEL

PARAMETRIZED = ".parametrizations."
"""In names that torch gives to a weight that is computed from others."""


class InitialNotFound(Exception):
    """The file is not on this machine, or cannot be read. Another machine may have it."""


class InitialMismatch(ValueError):
    """The file is no safetensors file, or its tensors are not those of the network."""


def take_over(model: nn.Module, training: spec.TrainingSpec, *, saved: Path | None, data_dir: Path | None) -> None:
    """Set the tensors of a new model to the values of the file that its spec names; nothing if it names none.

    Neurons that are rotated together are those of the file; their rotations start as they are. A classifier that is not
    trained keeps its own class vectors. `saved`: the checkpoint of an `InitialJob`, which its owner has fetched.
    Raises InitialNotFound for a file that this machine does not have, InitialMismatch for one that does not fit,
    ValueError without the checkpoint of a job.
    """
    if (initial := training.initial) is None:
        return
    path = _path(initial, saved, data_dir)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InitialMismatch(f"{path}: expected a safetensors file, found: {error}") from error
    except OSError as error:
        raise InitialNotFound(f"the first weights cannot be read: {error}") from error
    of_checkpoint = {name.removeprefix(MODEL): found for name, found in tensors.items() if name.startswith(MODEL)}
    found = of_checkpoint or tensors
    final = training.geometry.final
    left = (*initial.leave, f"{final.name}.*") if training.classifier and final else initial.leave
    wanted = {name: value for name, value in model.state_dict().items() if not _is_left(name, left)}
    if any(PARAMETRIZED in name for name in wanted) and not any(PARAMETRIZED in name for name in found):
        found = {_parametrized(name, wanted): value for name, value in found.items()}
        wanted = {name: value for name, value in wanted.items() if PARAMETRIZED not in name or name in found}
    if reason := _misfit(wanted, found):
        raise InitialMismatch(f"{path}: {reason}; leave out what is to keep its own first values (initial.leave)")
    model.load_state_dict({name: found[name] for name in wanted}, strict=False)


def _path(initial: spec.Initial, saved: Path | None, data_dir: Path | None) -> Path:
    if isinstance(initial, spec.InitialJob):
        if saved is None:
            raise ValueError(f"expected the checkpoint of step {initial.step} of job {initial.job}, found none")
        return saved
    if data_dir is None:
        raise InitialNotFound(
            f"the first weights are read from {initial.path} in the data folder, but no data folder was given"
        )
    return data_dir / initial.path


def _parametrized(name: str, wanted: dict[str, Tensor]) -> str:
    """The name of a weight in a network that rotates it."""
    owner, _, parameter = name.rpartition(".")
    other = f"{owner}{PARAMETRIZED}{parameter}.original"
    return other if other in wanted else name


def _is_left(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _misfit(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    if missing := [name for name in wanted if name not in found]:
        return f"expected tensors {', '.join(missing[:5])}, found {', '.join(list(found)[:5]) or 'none'}"
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            return f"expected {name} of shape {tuple(value.shape)}, found {tuple(found[name].shape)}"
    return None
