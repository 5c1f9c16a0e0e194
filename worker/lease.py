"""Is the attempt still ours? A thread renews its lease, and reads the attempt's desired state at each renewal.

A lease that cannot be renewed is not lost: while the database is away for all, no other worker can take the job
(decision record 30). It is lost once the database says so.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from hsu_jobs import attempts, database
from hsu_jobs.attempts import DesiredState
from hsu_jobs.database_outage import AWAY, Uptime
from hsu_jobs.errors import LeaseLost
from hsu_jobs.settings import Settings
from hsu_jobs.states import Wanted

_TO_END = 1.0
"""Seconds in which a renewal that has begun ends, unless the database hangs."""
_log = logging.getLogger(__name__)


class Lease:
    """A lease that is renewed while the `with` lasts."""

    def __init__(self, token: UUID, settings: Settings) -> None:
        self.desired = DesiredState(Wanted.RUN, None)
        self.idle = timedelta(0)
        """For how long the attempt made no progress, while it could have reported some."""
        self.is_over = False
        """Whether its token is no longer live: the runner has settled, or another worker took the job."""
        self._token = token
        self._settings = settings
        self._uptime = Uptime(longest_gap=settings.lease)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_often, name=f"lease-{token}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(_TO_END)  # with a limit: it may hang in the database

    def _renew_often(self) -> None:
        while not (self.is_over or self._done.wait(self._settings.heartbeat.total_seconds())):
            self._renew()

    def _renew(self) -> None:
        try:
            with database.transaction() as session:
                self.desired, idle = attempts.renew(session, self._token, lease=self._settings.lease)
        except LeaseLost:
            self.is_over = True
        except AWAY as error:
            self._uptime.note_refusal()
            _log.warning("a lease could not be renewed; the attempt continues: %s", error)
        else:
            self._uptime.note_answer()
            self.idle = min(idle, self._uptime.length)  # points measured during an outage are not written yet
