"""Which bytes is a batch of points made of? Columns, little-endian, as `PUT /v1/runs/{id}/batches/{number}` reads them.

Knows points and bytes. Knows no HTTP. Needs no numpy: arrays of the standard library are as fast here.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

Name = str | tuple[str | None, str]
"""A curve of the whole model, or a layer and a measure."""


class Point(NamedTuple):
    """What was logged by one call."""

    step: int
    time: float
    values: Mapping[Name, float]


class _Columns(NamedTuple):
    names: Sequence[Name]
    steps: array[int]
    times: array[float]
    rows: Sequence[array[float]]


def encode(points: Sequence[Point]) -> tuple[bytes, int]:
    """A batch, and how many values were left out: a curve has one value a step, in ascending steps."""
    groups: dict[tuple[Name, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.values), []).append(point)
    names = [name for group in groups for name in group]
    if len(set(names)) == len(names) and all(map(_ascends, groups.values())):
        return _packed([_of_group(names, group) for names, group in groups.items() if names]), 0
    columns, left_out = _of_each_curve(points)
    return _packed(columns), left_out


class Curve(Protocol):
    """A curve whose steps ascend."""

    @property
    def name(self) -> str:
        """Of the whole model."""

    @property
    def steps(self) -> array[int]:
        """Ascending."""

    @property
    def times(self) -> array[float]:
        """Seconds since the epoch."""

    @property
    def values(self) -> array[float]:
        """One a step."""


def encode_histories(curves: Sequence[Curve]) -> bytes:
    """A batch of whole curves, each with its own steps."""
    return _packed([_Columns([each.name], each.steps, each.times, [each.values]) for each in curves])


def _ascends(group: Sequence[Point]) -> bool:
    return all(before.step < after.step for before, after in pairwise(group))


def _of_group(names: Sequence[Name], group: Sequence[Point]) -> _Columns:
    values = array("d")
    for point in group:
        values.extend(point.values.values())
    steps, times = array("q", [point.step for point in group]), array("d", [point.time for point in group])
    return _Columns(names, steps, times, [values[row :: len(names)] for row in range(len(names))])


def _of_each_curve(points: Sequence[Point]) -> tuple[list[_Columns], int]:
    """Curves that were logged together and apart: each by itself, and those with the same steps together again."""
    curves: dict[Name, tuple[array[int], array[float], array[float]]] = {}
    left_out = 0
    for step, time, values in points:
        for name, value in values.items():
            steps, times, row = curves.setdefault(name, (array("q"), array("d"), array("d")))
            if steps and step <= steps[-1]:
                left_out += 1
                continue
            steps.append(step)
            times.append(time)
            row.append(value)
    alike: dict[tuple[bytes, bytes], list[Name]] = {}
    for name, (steps, times, _) in curves.items():
        alike.setdefault((steps.tobytes(), times.tobytes()), []).append(name)
    return [
        _Columns(names, *curves[names[0]][:2], [curves[name][2] for name in names]) for names in alike.values()
    ], left_out


def _packed(columns: Sequence[_Columns]) -> bytes:
    described = [{"series": [_pair(name) for name in each.names], "steps": len(each.steps)} for each in columns]
    head = json.dumps({"columns": described}, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(head)), head, *_arrays(columns)])


def _pair(name: Name) -> tuple[str | None, str]:
    return (None, name) if isinstance(name, str) else name


def _arrays(columns: Sequence[_Columns]) -> Iterator[bytes]:
    for each in columns:
        arrays: list[array[Any]] = [each.steps, each.times, *each.rows]
        for numbers in arrays:
            if sys.byteorder == "big":
                numbers.byteswap()
            yield numbers.tobytes()
