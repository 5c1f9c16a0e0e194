"""Where do batches wait while the service is away? In memory, and those that are too many in a file, in order.

The file has no name and ends with the process.
"""

from __future__ import annotations

import struct
import tempfile
from collections import deque
from typing import IO

IN_MEMORY = 8 * 1024 * 1024
"""Bytes that wait in memory."""
_LENGTH = struct.Struct("<I")


class Spool:
    """Batches, the oldest first."""

    def __init__(self, *, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._oldest: deque[bytes] = deque()
        self._held = 0
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0
        """What of the file has still to be read."""

    def append(self, batch: bytes) -> None:
        """Keep a batch behind all others."""
        if self._begin < self._end or self._held + len(batch) > self._in_memory:
            self._write(batch)
            return
        self._oldest.append(batch)
        self._held += len(batch)

    def first(self) -> bytes | None:
        """The oldest batch; None if there is none."""
        if not self._oldest and self._begin < self._end:
            self._oldest.append(self._read())
            self._held = len(self._oldest[0])
        return self._oldest[0] if self._oldest else None

    def drop_first(self) -> None:
        """Forget the oldest batch: the service has it."""
        self._held -= len(self._oldest.popleft())

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, batch: bytes) -> None:
        self._file = self._file or tempfile.TemporaryFile(prefix="hsu-run-")  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(_LENGTH.pack(len(batch)) + batch)
        self._end = self._file.tell()

    def _read(self) -> bytes:
        assert self._file is not None
        self._file.seek(self._begin)
        (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
        batch = self._file.read(length)
        self._begin = self._file.tell()
        if self._begin == self._end:
            self._file.truncate(0)
            self._begin = self._end = 0
        return batch
