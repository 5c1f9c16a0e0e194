"""How are converted images written, with their facts? Block by block, each image to its part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hsu_core.data.own import writing
from hsu_core.data.own.manifest import ImagesContent, Manifest
from hsu_core.data.own.split import Labelled
from hsu_core.data.own.writing import NpyWriter, Space

PIXEL, CLASS = "|u1", "<i8"


def write_images(
    out: Path,
    blocks: Iterator[UInt8[ndarray, "k c h w"]],
    *,
    shape: tuple[int, int, int],
    split: Labelled,
    space: Space,
) -> Manifest:
    """Write blocks of images, in the order of the examples of `split`, into a folder. Raises Refused."""
    test = int(split.is_test.sum())
    first, total = 0, np.zeros(shape[0], dtype=np.int64)
    with (
        NpyWriter(out / "train_x.npy", (len(split.is_test) - test, *shape), PIXEL, space) as train_x,
        NpyWriter(out / "test_x.npy", (test, *shape), PIXEL, space) as test_x,
    ):
        for block in blocks:
            is_test = split.is_test[first : first + len(block)]
            first += len(block)
            train_x.add(block[~is_test])
            test_x.add(block[is_test])
            total += block[~is_test].sum(axis=(0, 2, 3), dtype=np.int64)
        files = {"train_x.npy": train_x.done(), "test_x.npy": test_x.done()}
    files["train_y.npy"] = writing.write(out / "train_y.npy", split.classes(test=False), space)
    files["test_y.npy"] = writing.write(out / "test_y.npy", split.classes(test=True), space)
    content = ImagesContent(
        shape=shape,
        mean=tuple((total / ((len(split.is_test) - test) * shape[1] * shape[2])).tolist()),
        class_names=split.names,
        train_counts=split.counts(test=False),
        test_counts=split.counts(test=True),
    )
    return Manifest(content=content, files=files)
