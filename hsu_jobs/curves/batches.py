"""Which bytes does a client send its points in? Columns, little-endian, after a head in JSON.

    4 bytes    the length of the head, an unsigned integer
    the head   {"columns": [{"series": [[layer or null, measure], …], "steps": n}, …]}, in UTF-8
    then for each of `columns`, in order:
    8n bytes   the steps, signed integers, ascending
    8n bytes   the times, floats, seconds since the epoch
    8nk bytes  the values, floats: n of the first of the k series, then n of the next

Knows arrays and bytes. Knows no database.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from hsu_core.outcomes import Series
from hsu_jobs.curves.layout import REAL, STEP, Reals, Steps

MOST_SERIES = 1_000
"""Curves that are written together."""
MOST_COLUMNS = 1_000
"""Sets of curves in a batch."""
LAST = 2**53 - 1
"""The last step that every JSON parser can represent exactly."""

CurveName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Columns(NamedTuple):
    """Points of several curves at the same steps."""

    series: list[Series]
    steps: Steps
    """Ascending."""
    times: Reals
    values: Reals
    """(series, steps)"""


class BadBatch(Exception):
    """The bytes are not a batch: what was expected, and what was found."""


class _Column(BaseModel):
    model_config = ConfigDict(extra="forbid")

    series: Annotated[list[tuple[CurveName | None, CurveName]], Field(min_length=1, max_length=MOST_SERIES)]
    steps: Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid")

    columns: Annotated[list[_Column], Field(max_length=MOST_COLUMNS)]


def decode(content: bytes) -> list[Columns]:
    """The columns in these bytes. Raises `BadBatch`."""
    head, body = _split(content)
    expected = sum(8 * column.steps * (2 + len(column.series)) for column in head.columns)
    if len(body) != expected:
        raise BadBatch(f"after the head {expected:,} bytes are expected, found {len(body):,}")
    return [checked(columns) for columns in _cut(head, body)]


def checked(columns: Columns) -> Columns:
    """The columns, if they can be stored. Raises `BadBatch`."""
    if len(set(columns.series)) < len(columns.series):
        raise BadBatch("a curve is named twice among the series of one set of columns")
    steps = columns.steps
    if steps[0] < 0 or steps[-1] > LAST or np.any(np.diff(steps) <= 0):
        raise BadBatch(f"steps ascend, from 0 to {LAST}; found {_shortened(steps)}")
    if not np.isfinite(columns.times).all():
        raise BadBatch("times are finite numbers, in seconds since the epoch; found NaN or an infinity")
    return columns


def _split(content: bytes) -> tuple[_Head, bytes]:
    if len(content) < 4:
        raise BadBatch(f"a batch begins with the 4 bytes of its head's length, found {len(content)} bytes in all")
    (length,) = struct.unpack_from("<I", content)
    if length > len(content) - 4:
        raise BadBatch(f"the head should have {length:,} bytes, found {len(content) - 4:,}")
    try:
        return _Head.model_validate_json(content[4 : 4 + length]), content[4 + length :]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "/".join(map(str, first["loc"]))
        raise BadBatch(f"the head is not valid: {where}: {first['msg']}") from error


def _cut(head: _Head, body: bytes) -> Iterator[Columns]:
    start = 0
    for column in head.columns:
        count, rows = column.steps, len(column.series)
        steps = np.frombuffer(body, STEP, count, start)
        times = np.frombuffer(body, REAL, count, start + 8 * count)
        values = np.frombuffer(body, REAL, count * rows, start + 16 * count).reshape(rows, count)
        yield Columns([Series(*name) for name in column.series], steps, times, values)
        start += 8 * count * (2 + rows)


def _shortened(steps: Steps) -> str:
    return ", ".join(map(str, steps[:5].tolist())) + (", …" if len(steps) > 5 else "")
