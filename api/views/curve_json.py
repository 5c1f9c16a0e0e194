"""How do curves of any length become JSON? Written column by column, in pieces, as `CurvesView` describes it.

Knows arrays and JSON. A view of millions of values would take a hundred bytes for each; here a value is an object only
while its piece is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from hsu_core.outcomes import Reference
from hsu_jobs.curves import LongCurve, Origin, Sampled

AT_ONCE = 16_384
"""Numbers in a piece: some 300 kB of text, and a few milliseconds for which other threads wait."""
_COLUMNS = ("steps", "values", "times", "min", "max", "counts", "nans")

Column = Callable[[], Iterable[NDArray[Any]]]
"""A column's numbers, in parts."""


class Columns(NamedTuple):
    """One curve to write."""

    job_id: int
    layer: str | None
    measure: str
    reference: Reference
    columns: dict[str, Column]
    """By name; missing columns are null."""


def every_point(job_id: int, curve: LongCurve, *, times: bool) -> Columns:
    """A curve with all of its points."""
    columns: dict[str, Column] = {
        "steps": lambda: (part.steps for part in curve.parts()),
        "values": lambda: (part.values for part in curve.parts()),
    }
    if times:
        columns["times"] = lambda: (part.times for part in curve.parts())
    return Columns(job_id, curve.layer, curve.measure, curve.reference, columns)


def in_buckets(curve: Sampled, *, times: bool) -> Columns:
    """A chart's curve."""
    found = curve.buckets
    arrays = {
        "steps": found.steps,
        "values": found.last,
        "min": found.low,
        "max": found.high,
        "counts": found.counts,
        "nans": found.nans.astype(np.int64),
    }
    arrays |= {"times": found.times} if times else {}
    columns: dict[str, Column] = {name: lambda array=array: (array,) for name, array in arrays.items()}  # type: ignore[misc]
    return Columns(curve.job_id, curve.layer, curve.measure, curve.reference, columns)


def written(curves: Iterable[Columns], *, relative_to: Origin | None, bucket: int | None) -> Iterator[bytes]:
    """The text of the answer, in pieces."""
    yield to_json({"relative_to": relative_to, "bucket": bucket})[:-1] + b',"curves":['
    for place, curve in enumerate(curves):
        yield b"," * (place > 0)
        yield from _curve(curve)
    yield b"]}"


def _curve(curve: Columns) -> Iterator[bytes]:
    names = {"job": curve.job_id, "layer": curve.layer, "measure": curve.measure} | curve.reference._asdict()
    yield _text(names)[:-1]
    for name in _COLUMNS:
        yield b',"%s":' % name.encode()
        column = curve.columns.get(name)
        if column is None:
            yield b"null"
        else:
            yield from _column(column())
    yield b"}"


def _column(parts: Iterable[NDArray[Any]]) -> Iterator[bytes]:
    before = b"["
    for part in parts:
        for begin in range(0, len(part), AT_ONCE):
            yield before + _text(part[begin : begin + AT_ONCE].tolist())[1:-1]
            before = b","
    yield b"[]" if before == b"[" else b"]"


def _text(value: object) -> bytes:
    return to_json(value, inf_nan_mode="strings")
