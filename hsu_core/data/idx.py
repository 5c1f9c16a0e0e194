"""How is MNIST's idx format read? Two zero bytes, a type, a number of dimensions, big-endian sizes, then the values.

Source: http://yann.lecun.com/exdb/mnist/. Only unsigned bytes occur in the image sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from hsu_core.data.images import DamagedFile, Images, contents, labels
from hsu_core.spec import ImageFacts

UNSIGNED_BYTE = 0x08


def read(files: Sequence[Path], facts: ImageFacts) -> Images:
    """Training images and labels, test images and labels, in this order of files; raises DamagedFile."""
    train_images, train_labels, test_images, test_labels = files
    _, height, width = facts.shape
    return Images(
        values(train_images, (facts.train, height, width))[:, None],
        labels(values(train_labels, (facts.train,)), facts.classes, train_labels),
        values(test_images, (facts.test, height, width))[:, None],
        labels(values(test_labels, (facts.test,)), facts.classes, test_labels),
    )


def values(file: Path, shape: tuple[int, ...]) -> UInt8[ndarray, "*shape"]:
    """The values of an idx file, which must have this shape; raises DamagedFile."""
    raw = contents(file)
    magic = bytes([0, 0, UNSIGNED_BYTE, len(shape)])
    if raw[:4].tobytes() != magic:
        raise DamagedFile(f"{file}: expected an idx file that begins {magic.hex()}, found {raw[:4].tobytes().hex()}")
    start = 4 + 4 * len(shape)
    found = tuple(np.frombuffer(raw[4:start].tobytes(), dtype=">u4").tolist()) if raw.size >= start else ()
    if found != shape:
        raise DamagedFile(f"{file}: expected values of shape {shape}, found {found}")
    expected = start + int(np.prod(shape))
    if raw.size != expected:
        raise DamagedFile(f"{file}: expected {expected} bytes, found {raw.size}")
    return raw[start:].reshape(shape)
