"""How is an npy file written row by row, with its hash? By plain writes: a full disk is then an error, and no crash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy import ndarray

from hsu_core.data.own.manifest import File
from hsu_core.data.own.refusal import Refused


class Space:
    """The bytes that a converted set may take."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def take(self, count: int) -> None:
        """Take some of it. Raises Refused if there is not enough."""
        self.left -= count
        if self.left < 0:
            raise Refused(f"the converted set may have {self.most:,} bytes at most, and has more")


class NpyWriter:
    """One file, of a shape that is known before its values are."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, space: Space) -> None:
        self._shape, self._dtype, self._path = shape, np.dtype(dtype), path
        space.take(int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize)
        self._hash = hashlib.sha256()
        self._bytes = self._values = 0
        self._file = path.open("wb")

    def __enter__(self) -> NpyWriter:
        header: dict[str, Any] = {"descr": self._dtype.str, "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self, header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, values: ndarray) -> None:
        """Write the next values."""
        assert values.dtype == self._dtype
        self._values += values.size
        self.write(np.ascontiguousarray(values).tobytes())

    def write(self, content: bytes) -> None:
        """Write bytes."""
        self._hash.update(content)
        self._bytes += len(content)
        self._file.write(content)

    def done(self) -> File:
        """What was written: all of it."""
        assert self._values == np.prod(self._shape, dtype=np.int64)
        return File(size=self._bytes, sha256=self._hash.hexdigest())


def write(path: Path, values: ndarray, space: Space) -> File:
    """Write a whole array."""
    with NpyWriter(path, values.shape, values.dtype.str, space) as writer:
        writer.add(values)
        return writer.done()
