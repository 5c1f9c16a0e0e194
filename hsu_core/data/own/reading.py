"""How is a converted data set read? Its files are mapped into memory, so that only what is used is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy import ndarray

from hsu_core import spec
from hsu_core.data.files import DatasetNotFound
from hsu_core.data.images import DamagedFile, Images
from hsu_core.data.interactions import Interactions
from hsu_core.data.own import manifest
from hsu_core.data.own.manifest import Manifest, TextsContent
from hsu_core.data.texts import Texts


def load(dataset: spec.OwnDataset, folder: Path | None) -> Images | Texts | Interactions:
    """The set that the spec names, from its folder. Raises DatasetNotFound or DamagedFile.

    The hash of the manifest is checked, and not those of all files: who puts them there has checked them.
    """
    if folder is None:
        raise DatasetNotFound(f"{dataset.name} is an own data set, but no folder of it was given")
    try:
        found = manifest.read(folder, sha256=dataset.sha256)
        expected = dataset.model_dump(include=set(found.content.sizes))
        if dict(found.content.sizes) != expected:
            raise DamagedFile(f"{folder}: the spec says {expected}, the set is {found.content.sizes}")
        match dataset:
            case spec.OwnTexts():
                return _texts(folder, found)
            case spec.OwnInteractions():
                return Interactions(*(_mapped(folder, f"{part}.npy") for part in manifest.PARTS))
            case _:
                return Images(*(_mapped(folder, f"{part}_{kind}.npy") for part in manifest.PARTS for kind in "xy"))
    except OSError as error:
        raise DatasetNotFound(f"{dataset.name} cannot be read: {error}") from error


def dataset(folder: Path, *, name: str) -> spec.AnyOwnDataset:
    """What a spec says of the converted set in a folder, for trainings without a service."""
    found = Manifest.model_validate_json((folder / manifest.NAME).read_bytes())
    tree = {"kind": spec.OWN, "name": name, "version": 1, "sha256": found.sha256, "holds": found.content.holds}
    return spec.OWN_DATASET.validate_python(tree | found.content.sizes)


def _mapped(folder: Path, name: str) -> ndarray:
    """An array whose pages are read when they are used; what is written into it stays in memory."""
    found: ndarray = np.load(folder / name, mmap_mode="c", allow_pickle=False)
    return found


def _texts(folder: Path, found: Manifest) -> Texts:
    assert isinstance(found.content, TextsContent)
    train_y, test_y = (np.array(_mapped(folder, f"{part}_y.npy")) for part in manifest.PARTS)
    train_x, test_x = (_decoded(folder, part) for part in manifest.PARTS)
    return Texts(train_x, train_y, test_x, test_y, list(found.content.class_names))


def _decoded(folder: Path, part: str) -> list[str]:
    text, ends = _mapped(folder, f"{part}_x.npy").tobytes(), _mapped(folder, f"{part}_ends.npy").tolist()
    return [text[first:end].decode() for first, end in zip([0, *ends[:-1]], ends, strict=True)]
