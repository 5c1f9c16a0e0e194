"""Is the database away, or is the statement wrong? Decided here for every process, by SQLSTATE.

An outage passes by itself: there is no server, or it starts, stops or recovers, takes no writes (a standby, a
failover), has no connection, disk or memory left, or undid a statement for reasons of its own. The caller then waits or
answers 503. Knows error codes; knows nothing of jobs or HTTP.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import NamedTuple

import psycopg
from sqlalchemy import Engine, event, exc
from sqlalchemy.engine import ExceptionContext

READ_ONLY = "25006"
_AWAY_CLASSES = frozenset({"08", "58"})
"""No connection; the server's own files or devices fail."""
_AWAY_CODES = frozenset(
    {
        READ_ONLY,  # a standby, or a primary that a failover has closed for writes
        "25P03",  # idle_in_transaction_session_timeout: we were idle, and were disconnected
        "25P04",  # transaction_timeout
        "40001",  # serialization failure: also a standby that cancels what conflicts with its recovery
        "40003",  # the connection broke, and it is not known whether the statement was completed
        "40P01",  # deadlock detected
        "53000",  # no resources left
        "53100",  # the disk is full
        "53200",  # no memory
        "53300",  # too many connections
        "55000",  # for example: recovery is not finished
        "55P03",  # lock_timeout
        "57000",
        "57014",  # cancelled: by an operator or by statement_timeout
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now: it starts, stops or recovers
        "57P04",  # the database was dropped, as a standby does when a primary's was
        "57P05",  # idle_session_timeout
    }
)


class DatabaseAway(exc.OperationalError):
    """The database cannot do now what it could do at another time; nothing was changed."""

    def __str__(self) -> str:
        """One line, without the statement: logs repeat it often, and the statement is right."""
        return f"{type(self.orig).__name__}: {next(iter(str(self.orig).splitlines()), '')}"

    @property
    def is_canceled(self) -> bool:
        """Whether the statement took longer than `statement_timeout`; a cancel by an operator does not count."""
        return isinstance(self.orig, psycopg.errors.QueryCanceled) and "user request" not in str(self.orig)

    @property
    def is_read_only(self) -> bool:
        """Whether it reads but takes no writes."""
        return isinstance(self.orig, psycopg.errors.ReadOnlySqlTransaction)


AWAY = (DatabaseAway, exc.TimeoutError)
"""What to catch. The second means that every connection of this process' pool stayed in use."""


class Uptime:
    """For how long has the database answered this process without a break, as far as was checked?

    An expired lease means nothing if it could not be renewed: code that ends attempts checks this first.
    """

    def __init__(self, *, longest_gap: timedelta) -> None:
        """`longest_gap`: the longest time between two checks; a longer one counts as a break."""
        self._longest_gap = longest_gap.total_seconds()
        self._lock = threading.Lock()
        self._since = self._looked = _now()

    @property
    def length(self) -> timedelta:
        """Until the last check; zero if that failed."""
        with self._lock:
            return timedelta(seconds=self._looked.steady - self._since.steady)

    def note_answer(self) -> None:
        """Record that the database has just taken a write."""
        with self._lock:
            now = _now()
            gap = max(now.steady - self._looked.steady, now.wall - self._looked.wall)  # asleep, only `wall` runs
            if gap > self._longest_gap:
                self._since = now
            self._looked = now

    def note_refusal(self) -> None:
        """Record that the database is away now."""
        with self._lock:
            self._since = self._looked = _now()


class _Now(NamedTuple):
    steady: float
    wall: float


def _now() -> _Now:
    return _Now(time.monotonic(), time.time())


def tell_apart(engine: Engine) -> None:
    """Let every error of this engine that means that the database is away be raised as `DatabaseAway`."""
    event.listen(engine, "handle_error", _tell_apart)


def is_away(error: BaseException, *, is_disconnect: bool = False) -> bool:
    """Whether a driver's error means that the database is away."""
    if not isinstance(error, psycopg.Error):
        return False
    if is_disconnect:
        return True
    state = error.sqlstate
    if state is None:  # it never reached the server, or the connection broke before an answer
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state in _AWAY_CODES or state[:2] in _AWAY_CLASSES


def _tell_apart(context: ExceptionContext) -> None:
    error = context.original_exception
    if not is_away(error, is_disconnect=context.is_disconnect):
        return
    if getattr(error, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True  # after a failover another server takes writes: connect again
    raise DatabaseAway(
        context.statement, context.parameters, error, connection_invalidated=context.is_disconnect
    ) from error
