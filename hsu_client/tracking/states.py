"""How does a state become a file, and a file a state again? As safetensors, never as a pickle.

A state is what `state_dict()` returns, or dictionaries and lists of such: tensors become the tensors of the file, and
how they are nested, with all numbers and texts, becomes JSON in its head. The tensors of a plain state dict, and those
below `"model"`, are named as in the service's own checkpoints: `model/conv1.weight`. Needs torch and safetensors, which
the client is installed without.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = "hsu_state"
NETWORK = "model"


def write(state: Any, path: Path) -> None:
    """Write a module's state, or a state, into a file.

    Raises ImportError where torch is not installed, and TypeError for what is neither a tensor nor plain data.
    """
    torch, safetensors = _libraries()
    plain = state.state_dict() if hasattr(state, "state_dict") else state
    is_flat = isinstance(plain, Mapping) and all(isinstance(value, torch.Tensor) for value in plain.values())
    found = _Tensors(torch)
    tree = found.tree(plain, (NETWORK,) if is_flat else ())
    safetensors.save_file(found.by_name, path, metadata={HEAD: json.dumps(tree)})


def read(path: Path) -> Any:
    """The state in a file, on the CPU. Raises ValueError for a file that holds none."""
    _, safetensors = _libraries()
    with importlib.import_module("safetensors").safe_open(path, framework="pt") as file:
        head = (file.metadata() or {}).get(HEAD)
    if head is None:
        raise ValueError(f"{path} holds no state that a run has saved; hsu_core.load reads checkpoints of the service")
    return _state(json.loads(head), safetensors.load_file(path))


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("torch"), importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise ImportError(f"a state is saved with torch and safetensors; files need neither ({error})") from error


class _Tensors:
    """Takes the tensors out of a state; no two share memory, as in the file each has its own."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._seen: set[int] = set()
        self.by_name: dict[str, Any] = {}

    def tree(self, value: Any, path: tuple[str, ...]) -> Any:
        """The value as JSON, with the names of its tensors."""
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                return {"float": repr(value)}
            case Mapping():
                return {"map": [[_key(key, path), self.tree(each, (*path, str(key)))] for key, each in value.items()]}
            case list() | tuple():
                items = [self.tree(each, (*path, str(place))) for place, each in enumerate(value)]
                return {"list" if isinstance(value, list) else "tuple": items}
            case _ if isinstance(value, self._torch.Tensor):
                return {"tensor": self._named("/".join(path) or "state", value)}
        raise TypeError(f"{'/'.join(path) or 'the state'} is a {type(value).__name__}: expected tensors and plain data")

    def _named(self, name: str, tensor: Any) -> str:
        while name in self.by_name:
            name += "'"
        kept = tensor.detach().cpu().contiguous()
        place = kept.untyped_storage().data_ptr()
        is_shared = place in self._seen or kept.untyped_storage().nbytes() != kept.nbytes
        self._seen.add(place)
        self.by_name[name] = kept.clone() if is_shared else kept
        return name


def _key(key: Any, path: tuple[str, ...]) -> Any:
    if isinstance(key, str | int) and not isinstance(key, bool):
        return key
    raise TypeError(f"{'/'.join(path) or 'the state'} has the key {key!r}: expected texts and whole numbers")


def _state(tree: Any, tensors: Mapping[str, Any]) -> Any:
    match tree:
        case {"tensor": str(name)}:
            return tensors[name]
        case {"float": str(text)}:
            return float(text)
        case {"map": list(items)}:
            return {key: _state(each, tensors) for key, each in items}
        case {"list": list(items)}:
            return [_state(each, tensors) for each in items]
        case {"tuple": list(items)}:
            return tuple(_state(each, tensors) for each in items)
    return tree
