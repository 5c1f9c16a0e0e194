"""How are some curves read out of blocks of many? Postgres extracts the rows of their matrices, and sends no more.

Knows SQL and bytes. One statement sees one state of the blocks, also while they are being merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from psycopg.rows import namedtuple_row
from sqlalchemy.orm import Session

from hsu_core.outcomes import Series
from hsu_jobs.curves import layout
from hsu_jobs.curves.layout import Cells, Reals, Steps
from hsu_jobs.curves.lineage import Stretch

# `enough`: the summary's cells fit into buckets of this width, and the whole block is requested.
EXTRACTS = """
SELECT first_step, last_step, count, cell, enough, numbers, extract,
       CASE WHEN enough THEN axis END AS axis,
       CASE WHEN NOT enough THEN steps END AS steps,
       CASE WHEN NOT enough THEN times END AS times
FROM curve_blocks,
    LATERAL (
        SELECT coalesce(cell <= %(width)s AND first_step >= %(first)s AND last_step <= %(last)s, false) AS enough
    ) AS fit,
    LATERAL (
        SELECT CASE WHEN enough THEN octet_length(summary) / cardinality(series) ELSE 8 * count END AS size
    ) AS row,
    LATERAL (
        SELECT array_agg(number ORDER BY nth) AS numbers,
               string_agg(substr(CASE WHEN enough THEN summary ELSE points END, 1 + size * place, size), ''::bytea
                          ORDER BY nth) AS extract
        FROM unnest(%(numbers)s::smallint[]) WITH ORDINALITY AS asked (number, nth),
             LATERAL (SELECT array_position(series, number) - 1 AS place) AS there
        WHERE place IS NOT NULL
    ) AS found
WHERE job_id = %(job_id)s AND last_step >= %(first)s AND first_step <= %(last)s AND numbers IS NOT NULL
ORDER BY first_step
"""


class Part(NamedTuple):
    """Points of one series."""

    steps: Steps
    times: Reals
    values: Reals


def extracts(session: Session, stretch: Stretch, *, width: int = 0) -> Iterator[tuple[Series, Part | Cells]]:
    """What each block holds of each series of a stretch: its points, or cells where they fit into such buckets."""
    connection: Any = session.connection().connection.driver_connection
    asked = stretch._asdict() | {"numbers": list(stretch.series), "width": width}
    del asked["series"]
    with connection.cursor(binary=True, row_factory=namedtuple_row) as cursor:  # which keeps bytes as bytes
        for block in cursor.execute(EXTRACTS, asked):
            decode = _cells if block.enough else _points
            yield from ((stretch.series[number], found) for number, found in decode(block, stretch))


def _cells(block: Any, _stretch: Stretch) -> Iterator[tuple[int, Cells]]:
    size = len(block.extract) // len(block.numbers)
    for place, number in enumerate(block.numbers):
        summary = block.extract[place * size : (place + 1) * size]
        yield number, layout.cells_of(block.first_step, block.cell, block.axis, summary)


def _points(block: Any, stretch: Stretch) -> Iterator[tuple[int, Part]]:
    steps = layout.steps_of(block.first_step, block.last_step, block.count, block.steps)
    asked = slice(np.searchsorted(steps, stretch.first), np.searchsorted(steps, stretch.last, side="right"))
    points = layout.reals(block.extract).reshape(len(block.numbers), -1)
    for number, values in zip(block.numbers, points, strict=True):
        yield number, Part(steps[asked], layout.reals(block.times)[asked], values[asked])
