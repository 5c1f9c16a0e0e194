"""What is a data set after reading? Arrays of images; a file that is not as expected is damaged.

Knows bytes and arrays. Knows no file format and no torch.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8
from numpy import ndarray


class Images(NamedTuple):
    """A whole data set in memory: pixels from 0 to 255, channels first, and class numbers from 0."""

    train_x: UInt8[ndarray, "train c h w"]
    train_y: Int64[ndarray, " train"]
    test_x: UInt8[ndarray, "test c h w"]
    test_y: Int64[ndarray, " test"]


class DamagedFile(Exception):
    """A file of a data set is not what it should be; the message names it, what was expected, and what was found."""


def contents(file: Path) -> UInt8[ndarray, " bytes"]:
    """All bytes of a file, unpacked if it is a gzip."""
    if file.suffix != ".gz":
        return np.fromfile(file, dtype=np.uint8)
    packed = file.read_bytes()
    try:
        # A copy, since an array over `bytes` is read-only, and torch warns of read-only arrays.
        return np.frombuffer(gzip.decompress(packed), dtype=np.uint8).copy()
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{file}: expected a complete gzip, found: {error}") from error


def labels(raw: UInt8[ndarray, " n"], classes: int, file: Path) -> Int64[ndarray, " n"]:
    """Class numbers in torch's type; raises DamagedFile for a number that is no class."""
    if raw.size and raw.max() >= classes:
        raise DamagedFile(f"{file}: expected labels from 0 to {classes - 1}, found {raw.max()}")
    return raw.astype(np.int64)
