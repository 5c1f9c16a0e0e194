"""How much is asked for? Counted by the blocks' sizes before any point is read, so that long reads go in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_jobs.curves.lineage import Choice, Line, line_of
from hsu_jobs.tables import Block


class _Piece(NamedTuple):
    """A block, as far as it is asked for."""

    first: int
    values: int


def count(session: Session, job_id: int, choice: Choice) -> int:
    """How many values the choice holds, or some more: at its ends, as if every step was recorded. Raises `NotFound`."""
    return sum(piece.values for piece in _pieces(session, line_of(session, job_id, choice)))


def windows(session: Session, job_id: int, choice: Choice, *, values: int) -> list[Choice]:
    """The choice in pieces that follow one another, each of about so many values or of one block."""
    found: list[Choice] = []
    first, held = choice.first, 0
    for piece in _pieces(session, line_of(session, job_id, choice)):
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
            if asked := len(stretch.series.keys() & set(series)):
                yield _Piece(first, asked * min(count, last - first + 1))
