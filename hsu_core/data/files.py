"""Which files does a data set need, and are they there?

Knows names and folders. Knows no file contents and no network. Importing it loads neither torch nor numpy, so that the
web process can report at once that a data set is missing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hsu_core import spec
from hsu_core.spec import plugins

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

PLANETOID = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")

LAYOUT: dict[str, tuple[str, ...]] = {
    "digits": (),  # bundled with scikit-learn
    "mnist": tuple(f"MNIST/raw/{name}" for name in IDX),
    "fashion-mnist": tuple(f"FashionMNIST/raw/{name}" for name in IDX),
    "cifar10": (
        *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
    ),
    "cifar100": ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
    "cora": tuple(f"Planetoid/Cora/raw/ind.cora.{part}" for part in PLANETOID),
    "citeseer": tuple(f"Planetoid/Citeseer/raw/ind.citeseer.{part}" for part in PLANETOID),
    "banking77": ("banking77/train.csv", "banking77/test.csv"),
    "movielens-latest-small": ("ml-latest-small/ratings.csv",),
    **{plugin.kind: plugin.spec.files for plugin in plugins.installed(plugins.DATASETS)},
}
"""Paths below the data folder, in the layout of the usual libraries; any file may be a gzip with `.gz` added."""

UNPUBLISHED = frozenset({"movielens-latest-small", *(plugin.kind for plugin in plugins.installed(plugins.DATASETS))})
"""Sets that cannot be fetched: their publisher has replaced them by later ones, or a plug-in brings them."""


class DatasetNotFound(Exception):
    """Files of a data set are missing or cannot be read; the message says which, where, and how to get them."""


def require(dataset: spec.PublishedDataset, folder: Path | None) -> list[Path]:
    """The files of this data set under the folder, in the order of `LAYOUT`; raises DatasetNotFound."""
    needed = LAYOUT[dataset.kind]
    if needed and folder is None:
        raise DatasetNotFound(
            f"{dataset.kind} is read from files, but no data folder was given: name one that holds {_listed(needed)}"
        )
    found: list[Path] = []
    missing: list[str] = []
    reasons: list[str] = []
    for name in needed:
        path = (folder or Path()) / name
        either = (path, path.with_name(path.name + ".gz"))
        troubles = [_trouble(file) for file in either]
        if None in troubles:
            found.append(either[troubles.index(None)])
        else:
            missing.append(str(path))
            reasons += [trouble for trouble in troubles if trouble]
    if missing:
        why = f" ({reasons[0]})" if reasons else ""  # first: a long path would hide it
        raise DatasetNotFound(
            f"{dataset.kind} is not there{why}: looked for {_listed(missing)} (or the same with .gz). "
            + ("Place the files there" if dataset.kind in UNPUBLISHED else "Place the files there, or allow downloads")
        )
    return found


def _trouble(file: Path) -> str | None:
    """Why a file cannot be read; empty if it does not exist, None if it can be read."""
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return "a link leads nowhere" if file.is_symlink() else ""
    except OSError as error:  # a folder without permission, a file in place of a folder, a circle of links
        return f"it cannot be reached: {error.strerror}"
    if not stat.S_ISREG(mode):
        return "what has its name is not a file"
    return None if os.access(file, os.R_OK) else "it may not be read"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    rest = len(names) - 1
    return names[0] if rest == 0 else f"{names[0]} and {rest} more"
