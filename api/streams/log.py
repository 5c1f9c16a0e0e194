"""How is a log sent? Bytes become characters, and a reader may follow the log until it is complete.

Knows attempts and pieces of logs. Holds a session only while it reads.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from sqlalchemy.orm import Session

from api.streams.access import Access
from api.streams.wakeups import Wakeups
from hsu_jobs import database, queries
from hsu_jobs.artifacts import logs
from hsu_jobs.database_outage import AWAY
from hsu_jobs.tables import Attempt

LINGER = timedelta(seconds=2)
"""A runner's last output may come so much later than the end of its attempt."""

_log = logging.getLogger(__name__)
_decoder = codecs.getincrementaldecoder("utf-8")


class Part(NamedTuple):
    """A part of a log, in whole characters."""

    first_byte: int
    next_byte: int
    """The position to read on from."""
    text: str


def read(session: Session, attempt: Attempt, *, first_byte: int, tail: int | None) -> Part:
    """The log from a byte on, as far as it is written; with `tail` only its last lines."""
    part = logs.read(session, attempt.id, first_byte=first_byte)
    content = part.content if tail is None else _last_lines(part.content, tail)
    decoder = _decoder("replace")
    text = decoder.decode(content, final=attempt.ended_at is not None)
    incomplete, _ = decoder.getstate()
    return Part(part.next_byte - len(content), part.next_byte - len(incomplete), text)


async def follow(wakeups: Wakeups, attempt: Attempt, first_byte: int, *, access: Access) -> AsyncIterator[str]:
    """The log from a byte on, as it grows, until the attempt ends, or the access: the last line then says so.

    Readers at the same position share one read.
    """
    decoder = _decoder("replace")
    async for subscription in wakeups.changes(attempt.job_id):
        if access.ending:
            yield f"\n[this log is not followed any longer: {access.ending.detail}]\n"
            return
        try:
            part, is_over = await subscription.read(
                ("log", attempt.id, first_byte), partial(_more, attempt.id, first_byte)
            )
        except AWAY as error:
            _log.warning("a followed log of job %d waits for the database: %s", attempt.job_id, error)
            continue
        if text := decoder.decode(part.content, final=is_over):
            yield text
        if is_over:
            return
        first_byte = part.next_byte


def _more(attempt_id: int, first_byte: int) -> tuple[logs.Text, bool]:
    """The new part, and whether nothing will come after it."""
    with database.transaction() as session:
        is_over = session.execute(queries.ended_before(attempt_id, LINGER)).scalar_one()
        return logs.read(session, attempt_id, first_byte=first_byte), is_over


def _last_lines(content: bytes, count: int) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join(lines[max(0, len(lines) - count) :])
