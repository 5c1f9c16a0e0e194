"""What does a curve look like? The minimum, the maximum and the last value in each bucket of steps.

Knows SQL and arrays. The length of a bucket is a power of two; buckets begin at its multiples and are the same for all
jobs of a request. So a bucket is a union of whole cells of the blocks' summaries, and a chart of a million points reads
thousands of numbers. Where a summary is too coarse, or crosses an end of the requested steps, the points are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs.curves import layout
from hsu_jobs.curves.extracts import Part, extracts
from hsu_jobs.curves.layout import Cells
from hsu_jobs.curves.lineage import Choice, Line, Lines, Stretch, origin_of, shifted
from hsu_jobs.tables import Block


class Sampled(NamedTuple):
    """One series of one job in buckets, those without a point left out."""

    job_id: int
    layer: str | None
    measure: str
    reference: Reference
    buckets: Cells


class Chart(NamedTuple):
    """Curves in the same buckets."""

    width: int
    """Steps in a bucket; it begins at a multiple of this."""
    curves: list[Sampled]


def sample(session: Session, lines: Lines, choice: Choice, *, max_points: int) -> Chart:
    """The chosen curves of jobs in at most so many buckets.

    With a bucket for each step nothing is lost: minimum, maximum and last value are then the same.
    """
    width = _width(session, [stretch for line in lines.values() for stretch in line.stretches], max_points)
    curves = [curve for job_id, line in lines.items() for curve in _sampled(session, job_id, line, choice, width)]
    return Chart(width, curves)


def _width(session: Session, stretches: Sequence[Stretch], max_points: int) -> int:
    """The least power of two such that the buckets between the first and the last step are at most `max_points`."""
    ends = [_ends(session, stretch) for stretch in stretches]
    first = min((first for first, _ in ends if first is not None), default=0)
    last = max((last for _, last in ends if last is not None), default=0)
    width = 1
    while last // width - first // width + 1 > max_points:
        width *= 2
    return width


def _ends(session: Session, stretch: Stretch) -> tuple[int | None, int | None]:
    """The first and the last step in a stretch."""
    within = (Block.job_id == stretch.job_id) & (Block.last_step >= stretch.first) & (Block.first_step <= stretch.last)
    first, last = session.execute(select(func.min(Block.first_step), func.max(Block.last_step)).where(within)).one()
    return (None, None) if first is None else (max(first, stretch.first), min(last, stretch.last))


def _sampled(session: Session, job_id: int, line: Line, choice: Choice, width: int) -> Iterator[Sampled]:
    parts: dict[Series, list[Cells]] = {name: [] for name in line.references}
    for stretch in line.stretches:
        for name, found in extracts(session, stretch, width=width):
            cells = layout.each_alone(*found) if isinstance(found, Part) else found
            if len(cells.first) > layout.MEDIUM:  # merged at once: many points become few buckets
                cells = layout.united([cells], width)
            parts[name].append(cells)
    for name, of_one in parts.items():
        reference = line.references[name]
        origin = origin_of(reference, choice)
        buckets = _counted_from(origin, layout.united(of_one, width))
        yield Sampled(job_id, *name, shifted(reference, origin), buckets)


def _counted_from(origin: float | None, cells: Cells) -> Cells:
    if origin is None:
        return cells
    return cells._replace(low=cells.low - origin, high=cells.high - origin, last=cells.last - origin)
