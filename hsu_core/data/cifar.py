"""How are CIFAR's binary records read? Label bytes, then 3072 bytes of pixels as red, green, blue planes of 32×32.

CIFAR-10 has one label byte. CIFAR-100 has a coarse and then a fine one; the fine one is the class.
Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray

from hsu_core.data.images import DamagedFile, Images, contents, labels
from hsu_core.spec import ImageFacts


def read_cifar10(files: Sequence[Path], facts: ImageFacts) -> Images:
    """The training batches in order, then the test batch; raises DamagedFile."""
    return _read(files, facts, label_bytes=1)


def read_cifar100(files: Sequence[Path], facts: ImageFacts) -> Images:
    """The training records, then the test records; raises DamagedFile."""
    return _read(files, facts, label_bytes=2)


def _read(files: Sequence[Path], facts: ImageFacts, *, label_bytes: int) -> Images:
    *train, test = files
    batches = [_records(file, facts.train // len(train), facts, label_bytes=label_bytes) for file in train]
    return Images(
        np.concatenate([x for x, _ in batches]),
        np.concatenate([y for _, y in batches]),
        *_records(test, facts.test, facts, label_bytes=label_bytes),
    )


def _records(
    file: Path, count: int, facts: ImageFacts, *, label_bytes: int
) -> tuple[UInt8[ndarray, "n c h w"], Int64[ndarray, " n"]]:
    raw = contents(file)
    size = label_bytes + math.prod(facts.shape)
    if raw.size != count * size:
        raise DamagedFile(f"{file}: expected {count} records of {size} bytes, {count * size} in all, found {raw.size}")
    records = raw.reshape(count, size)
    pixels = np.ascontiguousarray(records[:, label_bytes:]).reshape(count, *facts.shape)
    return pixels, labels(records[:, label_bytes - 1], facts.classes, file)
