"""How are curves of any length read with little memory? A few short ones together, a long one in parts.

Knows which curves are long. Read them in one repeatable-read transaction: then all parts show one state of the job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs.curves import amounts
from hsu_jobs.curves.lineage import Choice, Line, origin_of, shifted
from hsu_jobs.curves.reading import Curve, read_line


class LongCurve(NamedTuple):
    """One series, whose points come in parts."""

    layer: str | None
    measure: str
    reference: Reference
    parts: Callable[[], Iterator[Curve]]
    """Its points in ascending steps; each call reads them again."""


def each(session: Session, line: Line, choice: Choice, *, values: int) -> Iterator[LongCurve]:
    """The chosen curves of a job, of which about so many values are in memory at a time."""
    sizes = amounts.of_each(session, line)
    for names in _together(sizes, values):
        mine = _only(line, names)
        if sizes[names[0]] <= values:
            yield from map(_short, read_line(session, mine, choice))
        else:
            yield _long(session, names[0], mine, choice, values)


def _together(sizes: dict[Series, int], values: int) -> Iterator[Sequence[Series]]:
    """The names in groups of at most so many values, in their order; a long curve is a group of its own."""
    group: list[Series] = []
    held = 0
    for name, size in sizes.items():
        if group and held + size > values:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _short(curve: Curve) -> LongCurve:
    return LongCurve(curve.layer, curve.measure, curve.reference, partial(iter, [curve]))


def _long(session: Session, name: Series, line: Line, choice: Choice, values: int) -> LongCurve:
    windows = amounts.cut(session, line, choice, values=values)

    def parts() -> Iterator[Curve]:
        for window in windows:
            yield from read_line(session, _within(line, window), choice)

    reference = line.references[name]
    return LongCurve(*name, shifted(reference, origin_of(reference, choice)), parts)


def _only(line: Line, names: Collection[Series]) -> Line:
    """The part of a line that holds these curves."""
    chosen = set(names)
    stretches = [
        stretch._replace(series={number: name for number, name in stretch.series.items() if name in chosen})
        for stretch in line.stretches
    ]
    references = {name: reference for name, reference in line.references.items() if name in chosen}
    return Line([stretch for stretch in stretches if stretch.series], references)


def _within(line: Line, window: Choice) -> Line:
    """The part of a line that lies between the ends of a window."""
    cut = [
        stretch._replace(first=max(stretch.first, window.first), last=min(stretch.last, window.last))
        for stretch in line.stretches
    ]
    return line._replace(stretches=[stretch for stretch in cut if stretch.first <= stretch.last])
