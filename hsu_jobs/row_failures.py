"""What happens when one row of many cannot be processed? It fails alone: logged, counted, skipped; the loop continues.

Knows loops by name and rows by what identifies them. Knows nothing of what is done with a row. An outage of the
database is no row's failure: that error is passed on. The counts are kept in the database, since workers find most of
them and the API shows them (`hsu_jobs/cluster/metrics.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import database
from hsu_jobs.database_outage import AWAY
from hsu_jobs.tables import RowFailure

LONGEST_ERROR = 500
"""Characters kept of an error."""
_MOST_KNOWN = 1000
"""Failures of which a process remembers that it has logged the traceback; a row that stays bad fails every sweep."""

_log = logging.getLogger(__name__)
_known: set[tuple[str, str]] = set()


@contextmanager
def savepoint(session: Session, loop: str, row: str) -> Iterator[None]:
    """Process a row of a loop that is one transaction: if the row fails, only what it has written is undone."""
    with alone(loop, row), session.begin_nested():
        yield


@contextmanager
def alone(loop: str, row: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Process a row of a loop that needs no undoing here; the rows after it are processed even if it fails.

    `but`: errors that are no row's failure, beside those of a database that does not answer. They are passed on.
    """
    try:
        yield
    except AWAY:
        raise
    except but:
        raise
    except Exception as error:
        note(loop, row, error)


def note(loop: str, row: str, error: Exception) -> None:
    """Log and count a row's failure. In a transaction of its own, so that it stays if the loop's is rolled back."""
    is_new = (loop, row) not in _known
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known.add((loop, row))
    _log.error("%s: %s failed and is skipped: %s", loop, row, error, exc_info=error if is_new else None)
    columns = {
        "last_row": row,
        "last_error": f"{type(error).__name__}: {error}"[:LONGEST_ERROR].replace("\0", "\ufffd"),
    }
    made = insert(RowFailure).values(loop=loop, **columns)
    again = made.on_conflict_do_update(
        index_elements=[RowFailure.loop],
        set_=columns | {"failures": RowFailure.failures + 1, "last_at": func.now()},
    )
    try:
        with database.transaction() as session:
            session.execute(again)
    except Exception as failure:
        _log.warning("%s: a failure could not be counted: %s", loop, failure)
