"""How much does a request read? Counted by the blocks' sizes before any point is read, so that long reads are split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Series
from hsu_jobs.curves.lineage import Choice, Line, Lines, line_of
from hsu_jobs.tables import Block


class _Piece(NamedTuple):
    """The requested part of a block."""

    first: int
    steps: int
    series: Sequence[Series]

    @property
    def values(self) -> int:
        """How many values it holds."""
        return self.steps * len(self.series)


def count(session: Session, lines: Lines) -> int:
    """How many values these curves hold, or some more: at their ends every step counts as recorded."""
    return sum(of_each(session, line).total() for line in lines.values())


def most_buckets(session: Session, lines: Lines, *, max_points: int) -> int:
    """How many buckets a chart of these curves has at most."""
    return sum(min(size, max_points) for line in lines.values() for size in of_each(session, line).values())


def of_each(session: Session, line: Line) -> Counter[Series]:
    """How many values each of the chosen curves holds, counted in the same way."""
    found = Counter(dict.fromkeys(line.references, 0))
    for piece in _pieces(session, line):
        for name in piece.series:
            found[name] += piece.steps
    return found


def windows(session: Session, job_id: int, choice: Choice, *, values: int) -> list[Choice]:
    """The choice in pieces that follow one another, each of about `values` values or of one block."""
    return cut(session, line_of(session, job_id, choice), choice, values=values)


def cut(session: Session, line: Line, choice: Choice, *, values: int) -> list[Choice]:
    """Like `windows`, for curves that were found before."""
    found: list[Choice] = []
    first, held = choice.first, 0
    for piece in _pieces(session, line):
        if held and held + piece.values > values and piece.first > first:
            found.append(choice._replace(first=first, last=piece.first - 1))
            first, held = piece.first, 0
        held += piece.values
    return [*found, choice._replace(first=first)]


def _pieces(session: Session, line: Line) -> Iterator[_Piece]:
    columns = (Block.first_step, Block.last_step, Block.count, Block.series)
    for stretch in line.stretches:
        within = (Block.last_step >= stretch.first) & (Block.first_step <= stretch.last)
        blocks = select(*columns).where(Block.job_id == stretch.job_id, within).order_by(Block.first_step)
        for begin, end, count, series in session.execute(blocks):
            first, last = max(begin, stretch.first), min(end, stretch.last)
            if asked := [stretch.series[number] for number in series if number in stretch.series]:
                yield _Piece(first, min(count, last - first + 1), asked)
