"""In which forms are curves sent? As JSON in columns, or as a table in a file's format.

Knows arrays, and pyarrow, which writes the files; `api/views/curve_json.py` writes the JSON. A table has one row for
each point, or bucket; it is read and written piece by piece, so a long one takes no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from api.views.jobs import Real, View
from hsu_jobs import curves, database
from hsu_jobs.curves import Chart, Choice, Curve, Origin, Sampled

AT_ONCE = 100_000
"""Rows of a table that are written together: some 5 MB of memory, ten as CSV, and a twentieth of a second."""


class Format(StrEnum):
    """How curves are written."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    """Arrow's IPC stream."""

    @property
    def media_type(self) -> str:
        """As Content-Type and Accept name it."""
        return MEDIA_TYPES[self]


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}


class CurveView(View):
    """One measured quantity over steps."""

    job: int
    layer: str | None
    """Null for what is measured of the whole model."""
    measure: str
    random: Real | None
    """The value of n independent, uniformly random points in d dimensions, for a layer of n neurons with d inputs: the
    expectation, or the median where that is infinite. The same at every step; null where there is none."""
    optimum: Real | None
    """The value of the best n points in d dimensions, where that is proven; else null."""
    bound: Real | None
    """Where no optimum is proven: a value that no n points in d dimensions surpass; it is proven, and in general not
    attained. Else null."""
    bound_source: str | None
    """Who proved the bound, and by which method."""
    steps: list[int]
    """With `max_points`, the last one that was recorded in each bucket."""
    values: list[Real]
    """At these steps."""
    times: list[float] | None = None
    """When they were measured, in seconds since the epoch; with `times`."""
    min: list[Real] | None = None
    """The least value in each bucket, without NaN; with `max_points`, as are the next ones."""
    max: list[Real] | None = None
    """The greatest value in each bucket, without NaN."""
    counts: list[int] | None = None
    """Values in each bucket."""
    nans: list[int] | None = None
    """How many of them are NaN."""


class CurvesView(View):
    """Curves of one job or of several."""

    relative_to: Origin | None
    """The reference that was subtracted from values and references; null if they are as measured."""
    bucket: int | None
    """With `max_points`: the number of steps in a bucket, the same for every curve. Buckets begin at its multiples."""
    curves: list[CurveView]


def table(job_ids: Iterable[int], choice: Choice) -> Iterator[pa.Table]:
    """One row for each point: pieces of a table, each read in a transaction of its own."""
    for job_id in job_ids:
        with database.transaction() as session:
            pieces = curves.windows(session, job_id, choice, values=AT_ONCE)
        for piece in pieces:
            with database.transaction() as session:
                found = curves.read(session, job_id, piece)
            yield from _together(_points(job_id, curve) for curve in found)


def _together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Fewer tables, each with about `AT_ONCE` rows; a block of many curves may hold more."""
    held = [EVERY_POINT.empty_table()]
    for each in tables:
        held.append(each)
        if sum(part.num_rows for part in held) >= AT_ONCE:
            yield pa.concat_tables(held)
            held.clear()
    if held:
        yield pa.concat_tables(held)


def chart_table(chart: Chart) -> pa.Table:
    """One row for each bucket."""
    return pa.concat_tables([BUCKETS.empty_table(), *map(_buckets, chart.curves)])


_NAMES = pa.dictionary(pa.int32(), pa.string())
_NAMED = [pa.field("job", pa.int64()), pa.field("layer", _NAMES), pa.field("measure", _NAMES)]
EVERY_POINT = pa.schema([*_NAMED, ("step", pa.int64()), ("time", pa.float64()), ("value", pa.float64())])
BUCKETS = pa.schema(
    [
        *EVERY_POINT,
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("count", pa.int64()),
        ("nan", pa.int64()),
    ]
)


def _points(job_id: int, curve: Curve) -> pa.Table:
    names = _repeated(job_id, curve.layer, curve.measure, len(curve.steps))
    return pa.table([*names, curve.steps, curve.times, curve.values], schema=EVERY_POINT)


def _buckets(curve: Sampled) -> pa.Table:
    found = curve.buckets
    names = _repeated(curve.job_id, curve.layer, curve.measure, len(found.steps))
    columns = [found.steps, found.times, found.last, found.low, found.high, found.counts, found.nans.astype(np.int64)]
    return pa.table([*names, *columns], schema=BUCKETS)


def _repeated(job_id: int, layer: str | None, measure: str, rows: int) -> list[pa.Array]:
    nothing = pa.nulls(rows, pa.int32()) if layer is None else pa.array(np.zeros(rows, np.int32))
    return [
        pa.array(np.full(rows, job_id)),
        pa.DictionaryArray.from_arrays(nothing, pa.array([layer or ""])),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([measure])),
    ]


def written(tables: Iterable[pa.Table], schema: pa.Schema, form: Format) -> Iterator[bytes]:
    """A file of these tables, in pieces."""
    sink = _Pieces()
    with WRITERS[form](sink, schema) as writer:
        for each in tables:
            writer.write_table(each.unify_dictionaries())
            yield sink.taken()
    yield sink.taken()


WRITERS: dict[Format, Callable[[Any, pa.Schema], Any]] = {
    Format.CSV: pyarrow.csv.CSVWriter,
    Format.PARQUET: pyarrow.parquet.ParquetWriter,
    Format.ARROW: lambda sink, schema: pa.ipc.new_stream(
        sink, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False)
    ),
}


class _Pieces:
    """A file whose content is sent while it is being written."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        """Add a piece."""
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Do nothing: no data is held back."""

    def close(self) -> None:
        """Do nothing: no file is open."""

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
