"""Where do points wait while the database is away for long? In a file without a name, which ends with its process.

Knows points and bytes. The points of a killed runner are measured again from its last checkpoint.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import IO

import numpy as np

from hsu_core.outcomes import Series
from hsu_jobs.curves import Point


class Spool:
    """A queue of points on the disk."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` should be on a real disk; if it does not exist, the file is put with the temporary files."""
        place = folder if folder and folder.is_dir() else None
        self._file = tempfile.TemporaryFile(dir=place, buffering=0)  # noqa: SIM115 - it is open as long as we are
        self._read_to = 0

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._file.seek(0, 2) - self._read_to

    def append(self, points: Sequence[Point]) -> None:
        """Add points at the end. Raises OSError if the disk does not take them; then none of them is added."""
        end = self._file.seek(0, 2)
        try:
            for names, group in groupby(points, key=lambda point: list(point.values)):
                _write(self._file, _encoded(names, list(group)))
        except OSError:
            self._file.truncate(end)
            raise

    def take(self) -> tuple[Point, ...]:
        """The first points, as many as were added together and have the same names."""
        self._file.seek(self._read_to)
        count, names = json.loads(self._file.readline())
        steps = np.frombuffer(self._file.read(8 * count), np.int64).tolist()
        rows = np.frombuffer(self._file.read(8 * count * (1 + len(names)))).reshape(count, -1).tolist()
        self._read_to = self._file.tell()
        if not self.size:
            self._file.truncate(0)
            self._read_to = 0
        series = [Series(*name) for name in names]
        return tuple(
            Point(step, row[0], dict(zip(series, row[1:], strict=True))) for step, row in zip(steps, rows, strict=True)
        )

    def close(self) -> None:
        """Close the file, which removes it."""
        self._file.close()


def _encoded(names: Sequence[Series], points: Sequence[Point]) -> bytes:
    head = json.dumps([len(points), names]).encode() + b"\n"
    steps = np.array([point.step for point in points], np.int64)
    rows = np.array([[point.time, *point.values.values()] for point in points])
    return head + steps.tobytes() + rows.tobytes()


def _write(file: IO[bytes], content: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part and reports an error only the next time."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
