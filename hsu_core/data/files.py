"""Which files does a data set need, and are they there?

Knows names and folders. Knows not what is in a file, and no network. Importing it costs neither torch nor numpy, so
that the web process can say at once that a data set is missing.
"""

from __future__ import annotations

from pathlib import Path

from hsu_core import spec

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

LAYOUT: dict[str, tuple[str, ...]] = {
    "digits": (),  # bundled with scikit-learn
    "mnist": tuple(f"MNIST/raw/{name}" for name in IDX),
    "fashion-mnist": tuple(f"FashionMNIST/raw/{name}" for name in IDX),
    "cifar10": (
        *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
    ),
    "cifar100": ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
}
"""Paths below the data folder, as the usual libraries lay them out; any of them may be a gzip with `.gz` added."""


class DatasetNotFound(Exception):
    """Files of a data set are missing; the message says which, where, and how to get them."""


def require(dataset: spec.Dataset, folder: Path | None) -> list[Path]:
    """The files of this data set under the folder, in the order of `LAYOUT`; raises DatasetNotFound."""
    needed = LAYOUT[dataset.kind]
    if needed and folder is None:
        raise DatasetNotFound(
            f"{dataset.kind} is read from files, but no data folder was given: name one that holds {_listed(needed)}"
        )
    candidates = [(folder or Path()) / name for name in needed]
    found = [_plain_or_gzip(path) for path in candidates]
    missing = [str(path) for path, file in zip(candidates, found, strict=True) if file is None]
    if missing:
        raise DatasetNotFound(
            f"{dataset.kind} is not there: looked for {_listed(missing)} (or the same with .gz). "
            "Place the files there, or allow downloads"
        )
    return [file for file in found if file is not None]


def _plain_or_gzip(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(path.name + ".gz")) if file.is_file()), None)


def _listed(names: tuple[str, ...] | list[str]) -> str:
    rest = len(names) - 1
    return names[0] if rest == 0 else f"{names[0]} and {rest} more"
