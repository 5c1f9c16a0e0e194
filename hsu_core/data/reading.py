"""How is a data set loaded by its name? Find the files, fetch them if that is allowed, read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hsu_core import spec
from hsu_core.data import cifar, digits, files, graphs, idx, interactions, texts
from hsu_core.data.own import reading as own_reading
from hsu_core.spec import plugins

READERS: dict[str, Callable[[Sequence[Path], Any], Any]] = {
    "digits": digits.read,
    "mnist": idx.read,
    "fashion-mnist": idx.read,
    "cifar10": cifar.read_cifar10,
    "cifar100": cifar.read_cifar100,
    "cora": graphs.read,
    "citeseer": graphs.read,
    "banking77": texts.read,
    "movielens-latest-small": interactions.read,
}


def load(
    dataset: spec.Dataset, folder: Path | None, *, allow_download: bool = False, own_dir: Path | None = None
) -> Any:
    """The whole data set, as its reader returns it: images, a graph, texts or interactions.

    `own_dir` is the folder of the converted files of an own data set. Its images are mapped, all others are in memory.
    Raises DatasetNotFound, DamagedFile or, when downloading, DownloadFailed.
    """
    if isinstance(dataset, spec.OwnDataset):
        return own_reading.load(dataset, own_dir)
    found = _files(dataset, folder, allow_download=allow_download)
    try:
        return _reader(dataset)(found, dataset.facts)
    except OSError as error:  # the file has just disappeared, or its disk cannot be read
        raise files.DatasetNotFound(f"{dataset.kind} cannot be read: {error}") from error


def _reader(dataset: spec.PublishedDataset) -> Callable[[Sequence[Path], Any], Any]:
    if not isinstance(dataset, spec.PluginDataset):
        return READERS[dataset.kind]
    own: Callable[[Sequence[Path], Any], Any] = plugins.built_by(dataset.builder)
    return own


def _files(dataset: spec.PublishedDataset, folder: Path | None, *, allow_download: bool) -> list[Path]:
    try:
        return files.require(dataset, folder)
    except files.DatasetNotFound:
        if folder is None or not allow_download or dataset.kind in files.UNPUBLISHED:
            raise
    from hsu_core.data import download  # a machine that may not download needs no client for it

    download.fetch(dataset, folder)
    return files.require(dataset, folder)
