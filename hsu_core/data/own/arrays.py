"""How are images read from the arrays of an npz file? Mapped from a copy on the disk, and never with pickle.

The arrays are `x` and `y`, or `x_train` and `y_train` as Keras writes them. Those for the test are `x_test` and
`y_test` of the same file, or `x` and `y` of a second one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hsu_core.data.own.archives import Archive
from hsu_core.data.own.image_writer import write_images
from hsu_core.data.own.manifest import Manifest
from hsu_core.data.own.refusal import Refused
from hsu_core.data.own.split import Label, Split
from hsu_core.data.own.writing import Space
from hsu_core.spec.own_datasets import LARGEST_SIDE

AT_ONCE = 1024
"""Images that are in memory at the same time."""
TRAIN, TEST = ("x", "y", "x_train", "y_train"), ("x_test", "y_test")


class _Part(NamedTuple):
    """The images of a part, image, channel, row, column; and the class of each."""

    x: UInt8[ndarray, "n c h w"]
    y: list[Label]


def convert(train: Path, test: Path | None, out: Path, *, split: Split, space: Space, scratch: Path) -> Manifest:
    """Write the images into a folder; `scratch` is an empty folder for the arrays. Raises Refused."""
    first = _Arrays(train, scratch / "first", space)
    parts = [first.part("x", "x_train")]
    if test:
        parts.append(_Arrays(test, scratch / "second", space).part("x", "x_test"))
    elif first.has("x_test"):
        parts.append(first.part("x_test"))
    shapes = [part.x.shape[1:] for part in parts]
    if shapes[0] != shapes[-1]:
        raise Refused(f"the images for the test have the shape {shapes[-1]}, those to train on {shapes[0]}")
    chosen = split.of(parts[0].y, parts[1].y if len(parts) > 1 else None)
    channels, height, width = shapes[0]
    blocks = (block for part in parts for block in _blocks(part.x))
    return write_images(out, blocks, shape=(channels, height, width), split=chosen, space=space)


def _blocks(x: UInt8[ndarray, "n c h w"]) -> Iterator[UInt8[ndarray, "k c h w"]]:
    for first in range(0, len(x), AT_ONCE):
        yield x[first : first + AT_ONCE]


class _Arrays:
    """The arrays of a file."""

    def __init__(self, path: Path, folder: Path, space: Space) -> None:
        self._path, self._folder, self._most = path, folder, space.most
        self._archive = Archive(path)
        self._names = {name.removesuffix(".npy"): name for name in self._archive.names()}
        folder.mkdir()

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return name in self._names

    def part(self, *names: str) -> _Part:
        """The images under the first of these names that is there, and their classes. Raises Refused."""
        name = next((name for name in names if self.has(name)), names[0])
        x, y = self._array(name), self._array(f"y{name[1:]}")
        if len(x) != len(y) or y.ndim != 1:
            raise Refused(f"{self._path.name}: expected a class for each of {len(x)} images, found y of {y.shape}")
        return _Part(self._channels_first(x), self._labels(y))

    def _array(self, name: str) -> ndarray:
        if name not in self._names:
            there = ", ".join(sorted(self._names))[:200] or "none"
            raise Refused(f"{self._path.name}: expected an array {name}, found {there}")
        place = self._folder / f"{len(list(self._folder.iterdir()))}.npy"
        self._archive.extract(self._names[name], place, most=self._most)
        try:
            found: ndarray = np.load(place, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # a header can make numpy fail in any way
            raise Refused(f"{self._path.name}: {name}: expected an array without objects, found: {error}") from error
        if found.ndim == 0:
            raise Refused(f"{self._path.name}: {name}: expected an array, found a single value")
        return found

    def _channels_first(self, x: ndarray) -> UInt8[ndarray, "n c h w"]:
        if x.dtype != np.uint8:
            raise Refused(
                f"{self._path.name}: expected pixels from 0 to 255 as uint8, found {x.dtype}: for numbers from 0 to 1, "
                "save (255 * x).round().astype('uint8')"
            )
        if x.ndim == 3:
            x = x[:, None]
        elif x.ndim == 4 and x.shape[3] in (1, 3):
            x = x.transpose(0, 3, 1, 2)
        if x.ndim != 4 or x.shape[1] not in (1, 3) or not all(1 <= side <= LARGEST_SIDE for side in x.shape[2:]):
            raise Refused(
                f"{self._path.name}: expected images of (n, height, width), (n, height, width, channels) or (n, "
                f"channels, height, width) with 1 or 3 channels and sides up to {LARGEST_SIDE}, found {x.shape}"
            )
        return x

    def _labels(self, y: ndarray) -> list[Label]:
        if y.dtype.kind not in "iuU":
            raise Refused(f"{self._path.name}: expected classes as whole numbers or texts, found {y.dtype}")
        labels: list[Label] = y.tolist()
        return labels
