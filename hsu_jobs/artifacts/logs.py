"""What did an attempt's runner print? Pieces of bytes, bounded: when there are too many, the oldest are deleted.

Knows rows. A position in a log is the number of bytes before it, so that a reader who resumes misses nothing.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs.tables import Attempt, LogChunk


class Text(NamedTuple):
    """A part of a log."""

    first_byte: int
    """Later than requested if the oldest pieces are gone."""
    next_byte: int
    """The position to read on from."""
    content: bytes


def append(session: Session, token: UUID, first_byte: int, content: bytes, *, limit: int) -> None:
    """Store a piece, and delete those more than `limit` bytes back; a piece that comes again may be longer.

    Not fenced: the output of a lost attempt explains why it was lost.
    """
    attempt_id = session.execute(select(Attempt.id).where(Attempt.token == token)).scalar_one()
    piece = insert(LogChunk).values(attempt_id=attempt_id, first_byte=first_byte, content=content)
    key = [LogChunk.attempt_id, LogChunk.first_byte]
    session.execute(piece.on_conflict_do_update(index_elements=key, set_={"content": content}))
    end_of_piece = LogChunk.first_byte + func.octet_length(LogChunk.content)
    too_old = end_of_piece <= first_byte + len(content) - limit
    session.execute(delete(LogChunk).where(LogChunk.attempt_id == attempt_id, too_old))


def read(session: Session, attempt_id: int, *, first_byte: int = 0) -> Text:
    """The log from a byte on, up to the first gap; what follows the gap is found from `next_byte` on."""
    end_of_piece = LogChunk.first_byte + func.octet_length(LogChunk.content)
    pieces = select(LogChunk.first_byte, LogChunk.content).where(LogChunk.attempt_id == attempt_id)
    rows = session.execute(pieces.where(end_of_piece > first_byte).order_by(LogChunk.first_byte)).all()
    if not rows:
        return Text(first_byte, first_byte, b"")
    begin, content = rows[0].first_byte, bytearray()
    for row in rows:
        written = begin + len(content) - row.first_byte
        if written < 0:
            break
        content += row.content[written:]
    skipped = max(0, first_byte - begin)
    return Text(begin + skipped, begin + len(content), bytes(content[skipped:]))
