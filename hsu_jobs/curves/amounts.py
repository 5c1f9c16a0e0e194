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
    """How many values the choice holds, or some more: blocks at its ends count whole. Raises `NotFound` as `read`."""
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
    for stretch in line.stretches:
        size = select(Block.first_step, Block.count, Block.series).order_by(Block.first_step)
        within = (Block.last_step >= stretch.first) & (Block.first_step <= stretch.last)
        for first, steps, series in session.execute(size.where(Block.job_id == stretch.job_id, within)):
            asked = len(stretch.series.keys() & set(series))
            if asked:
                yield _Piece(max(first, stretch.first), steps * asked)
