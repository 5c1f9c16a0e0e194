"""Which bytes is a block of points made of? A matrix of series × steps, and for a large one a summary in cells.

Knows arrays and bytes. Knows no database. A cell is an aligned range of steps, 2ᵏ long: cells of all jobs and of all
sizes nest, so buckets of a chart that are as long or longer are unions of whole cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsu_core.outcomes import Series

STEP = np.dtype("<i8")
REAL = np.dtype("<f8")

MEDIUM, FULL = 64, 4096
"""Steps of a block of level 1, and of level 2. With two merges by 64, each point is written three times in all."""
CELLS = 16
"""A full block of evenly recorded steps has so many cells, or twice as many: 1.5 to 3 % of its size."""
SUMMARY_ROWS = 4
"""Of a series: minimum, maximum, last value, number of NaN."""

Steps = NDArray[np.int64]
Reals = NDArray[np.float64]


class Point(NamedTuple):
    """Everything that was recorded at one step."""

    step: int
    time: float
    """Seconds since the epoch."""
    values: Mapping[Series, float]


class Matrix(NamedTuple):
    """Points of several series at the same steps."""

    series: Sequence[int]
    steps: Steps
    """Ascending."""
    times: Reals
    points: Reals
    """(series, steps)"""


def level_of(count: int) -> int:
    """The level of a block of so many steps."""
    return (count >= MEDIUM) + (count >= FULL)


def row(job_id: int, matrix: Matrix, *, is_final: bool = False) -> dict[str, object]:
    """A matrix as a row of the table; a final one with its summary."""
    steps = matrix.steps.astype(STEP)
    found: dict[str, object] = {
        "job_id": job_id,
        "first_step": int(steps[0]),
        "lead": matrix.series[0],
        "last_step": int(steps[-1]),
        "count": len(steps),
        "level": 2 if is_final else min(level_of(len(steps)), 1),
        "series": list(matrix.series),
        "steps": None if _is_even(steps) else steps.tobytes(),
        "times": matrix.times.astype(REAL).tobytes(),
        "points": matrix.points.astype(REAL).tobytes(),
        "cell": None,
        "axis": None,
        "summary": None,
    }
    return found | (_summary(matrix) if is_final else {})


def steps_of(first: int, last: int, count: int, stored: bytes | None) -> Steps:
    """The steps of a block."""
    if stored is not None:
        return np.frombuffer(stored, STEP)
    return np.arange(count, dtype=STEP) * ((last - first) // max(1, count - 1)) + first


def reals(stored: bytes) -> Reals:
    """Times or values."""
    return np.frombuffer(stored, REAL)


class Cells(NamedTuple):
    """A series within aligned ranges of steps; a single point is a cell of its own."""

    first: Steps
    """Where each begins, ascending."""
    counts: Steps
    """Points."""
    steps: Steps
    """The last step in each, at which `last` was measured."""
    times: Reals
    low: Reals
    """NaN is left out, unless all values are NaN; the same in `high`."""
    high: Reals
    last: Reals
    nans: Reals
    """How many are NaN."""


NO_CELLS = Cells._make(np.empty(0, kind) for kind in (STEP, STEP, STEP, REAL, REAL, REAL, REAL, REAL))


def cells_of(first_step: int, cell: int, axis: bytes, summary: bytes) -> Cells:
    """The cells of one series in a block's summary."""
    count, steps, times = np.frombuffer(axis, STEP).reshape(3, -1)
    low, high, last, nans = np.frombuffer(summary, REAL).reshape(SUMMARY_ROWS, -1)
    first = (np.arange(len(count), dtype=STEP) + first_step // cell) * cell
    there = count > 0
    columns = (first, count, steps, times.view(REAL), low, high, last, nans)
    return Cells._make(columns if there.all() else (column[there] for column in columns))


def each_alone(steps: Steps, times: Reals, values: Reals) -> Cells:
    """Points, each as a cell of its own."""
    return Cells(steps, np.ones_like(steps), steps, times, values, values, values, np.isnan(values).astype(REAL))


def united(parts: Sequence[Cells], width: int) -> Cells:
    """Merge cells of at most this width, in any order, into one for each multiple of it that has points."""
    columns = [np.concatenate(column) for column in zip(NO_CELLS, *parts, strict=True)]
    if np.any(np.diff(columns[2]) < 0):  # by the last step of each: also of cells that share a range
        order = np.argsort(columns[2], kind="stable")
        columns = [column[order] for column in columns]
    first, count, steps, times, low, high, last, nans = columns
    if not len(first):
        return NO_CELLS
    bucket = first // width
    begins = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    ends = np.append(begins[1:], len(bucket)) - 1
    return Cells(
        bucket[begins] * width,
        np.add.reduceat(count, begins),
        steps[ends],
        times[ends],
        np.fmin.reduceat(low, begins),
        np.fmax.reduceat(high, begins),
        last[ends],
        np.add.reduceat(nans, begins),
    )


def _is_even(steps: Steps) -> bool:
    return bool(np.all(np.diff(steps, 2) == 0))


def _summary(matrix: Matrix) -> dict[str, object]:
    """Cells as long as gives a full block `CELLS` of them; each holds what `united` would make of its points."""
    steps, points = matrix.steps, matrix.points
    length = (int(steps[-1]) - int(steps[0]) + 1) * max(1.0, FULL / len(steps))
    cell = 1 << max(0, int(length / CELLS).bit_length() - 1)
    place = steps // cell - steps[0] // cell
    begins = np.flatnonzero(np.diff(place, prepend=-1))
    ends = np.append(begins[1:], len(place)) - 1
    filled, cells = place[begins], int(place[-1]) + 1
    axis = np.zeros((3, cells), STEP)
    axis[:, filled] = ends - begins + 1, steps[ends], matrix.times[ends].astype(REAL).view(STEP)
    summary = np.zeros((len(points), SUMMARY_ROWS, cells), REAL)
    summary[:, 0, filled] = np.fmin.reduceat(points, begins, axis=1)
    summary[:, 1, filled] = np.fmax.reduceat(points, begins, axis=1)
    summary[:, 2, filled] = points[:, ends]
    summary[:, 3, filled] = np.add.reduceat(np.isnan(points).astype(REAL), begins, axis=1)
    return {"cell": cell, "axis": axis.tobytes(), "summary": summary.tobytes()}
