"""Which content has a data set, a batch or a network? One SHA-256 over its values, and over nothing else.

Tensors count by type, shape and values: not by device, memory layout, file format or compression. The hash of a data
set is kept beside its files, until one of them changes. Knows no training.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from hsu_core import spec
from hsu_core.data import files

KEPT = ".content-hashes"
"""The folder within the data folder for what is known already."""


def of(*values: Any) -> str:
    """The hash of values, in hexadecimal: tensors, arrays, numbers, texts, and sequences and maps of them.

    TypeError for anything else.
    """
    found = hashlib.sha256()
    for value in values:
        _add(found, value)
    return found.hexdigest()


def of_dataset(dataset: spec.Dataset, data: Any, folder: Path | None) -> str | None:
    """The hash of a data set that `reading.load` has read from this folder; that of its manifest if users brought it.

    None for a plug-in's data that are no tensors, arrays, numbers or texts.
    """
    if isinstance(dataset, spec.OwnDataset):
        return dataset.sha256
    marks = _marks(dataset, folder)
    if known := _known(dataset, folder, marks):
        return known
    try:
        found = of(data)
    except TypeError:
        return None
    if folder and marks:
        _keep(folder / KEPT, dataset.kind, {"files": marks, "sha256": found})
    return found


def _add(found: Any, value: Any) -> None:
    match value:
        case Tensor():
            _add(found, value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            found.update(f"{value.dtype} {list(value.shape)};".encode())
        case ndarray():
            if value.dtype.hasobject:
                raise TypeError("expected an array of numbers, found one of objects")
            found.update(f"{value.dtype.str} {list(value.shape)};".encode())
            found.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        case bool() | int() | float() | str() | None:
            found.update(json.dumps(value).encode() + b";")
        case Mapping():
            _add(found, sorted(value.items()))
        case Sequence():
            found.update(f"[{len(value)};".encode())
            for each in value:
                _add(found, each)
        case _:
            raise TypeError(f"expected values that can be hashed, found {type(value).__name__}")


def _marks(dataset: spec.PublishedDataset, folder: Path | None) -> list[list[Any]]:
    """Name, size and time of each file; empty if there are none, or not where they were."""
    with suppress(OSError, files.DatasetNotFound, KeyError):
        found = [(path.name, path.stat()) for path in files.require(dataset, folder)]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in found]
    return []


def _known(dataset: spec.PublishedDataset, folder: Path | None, marks: list[list[Any]]) -> str | None:
    if not (folder and marks):
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((folder / KEPT / f"{dataset.kind}.json").read_text(encoding="utf-8"))
        return str(kept["sha256"]) if kept["files"] == marks else None
    return None


def _keep(folder: Path, kind: str, known: dict[str, Any]) -> None:
    """Write it in one rename. Where a folder takes no file, the next run computes the hash again."""
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        partial = folder / f".{kind}.{os.getpid()}"
        partial.write_text(json.dumps(known), encoding="utf-8")
        partial.replace(folder / f"{kind}.json")
