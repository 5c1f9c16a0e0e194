"""How does a runner's output reach Postgres? One thread reads its pipe, another writes; the excess is dropped.

The pipe is always read, even while the database is away: a runner never waits for its own log.
"""

from __future__ import annotations

import io
import logging
import threading
from uuid import UUID

from hsu_jobs import database
from hsu_jobs.artifacts import logs
from hsu_jobs.database_outage import AWAY
from hsu_jobs.settings import Settings

_log = logging.getLogger(__name__)
_PIECE = 64 * 1024


class Pump:
    """Carries one runner's output to the database until it ends."""

    def __init__(self, pipe: io.BufferedReader, settings: Settings) -> None:
        self._pipe = pipe
        self._settings = settings
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._first_byte = 0
        """Position in the whole log of the first byte that waits."""
        self._tail = b""
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._read, name="log-reader", daemon=True)]
        self._threads[0].start()

    def write_for(self, token: UUID) -> None:
        """Begin to write, as the log of this attempt; earlier output is part of it."""
        self._threads.append(threading.Thread(target=self._write_often, args=(token,), name="log-writer", daemon=True))
        self._threads[-1].start()

    def finish(self, *, seconds: float) -> None:
        """Wait until everything is written, for at most `seconds`."""
        for thread in self._threads:
            thread.join(seconds)

    def tail(self) -> str:
        """The last lines."""
        text = self._tail.decode(errors="replace")
        return text[text.find("\n") + 1 :] if len(self._tail) == _TAIL else text

    def _read(self) -> None:
        while piece := self._pipe.read1(_PIECE):
            with self._lock:
                self._tail = (self._tail + piece)[-_TAIL:]
                self._waiting += piece
                surplus = max(0, len(self._waiting) - self._settings.log_limit)
                del self._waiting[:surplus]
                self._first_byte += surplus
        self._pipe.close()
        self._ended.set()

    def _write_often(self, token: UUID) -> None:
        while not self._ended.wait(self._settings.flush.total_seconds()):
            self._write(token)
        while not self._write(token):
            threading.Event().wait(self._settings.flush.total_seconds())

    def _write(self, token: UUID) -> bool:
        """Write what waits; returns whether nothing is left."""
        with self._lock:
            first_byte, content = self._first_byte, bytes(self._waiting)
        if content:
            try:
                with database.transaction() as session:
                    logs.append(session, token, first_byte, content, limit=self._settings.log_limit)
            except AWAY as error:
                _log.warning("the log of an attempt is kept in memory until the database answers: %s", error)
                return False
        with self._lock:
            done = first_byte + len(content) - self._first_byte
            del self._waiting[: max(0, done)]
            self._first_byte = max(self._first_byte, first_byte + len(content))
            return not self._waiting


_TAIL = 2000
