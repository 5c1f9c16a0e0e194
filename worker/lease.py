"""Is the attempt still ours? A thread renews its lease, so that a database that hangs cannot keep us from noticing.

Knows two clocks: until when the lease holds, and for how long the attempt got no further.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError

from hsu_jobs import attempts, database
from hsu_jobs.attempts import Wish
from hsu_jobs.errors import LeaseLost
from hsu_jobs.settings import Settings
from hsu_jobs.states import Wanted

_log = logging.getLogger(__name__)
_MARGIN = 0.8
"""Of a lease, after which whoever could not renew it ends its runner: before another may take the job."""


class Lease:
    """A lease that is renewed while the `with` lasts."""

    def __init__(self, token: UUID, settings: Settings, *, since: float) -> None:
        """`since`: when it was asked for, on the monotonic clock."""
        self.wish = Wish(Wanted.RUN, None)
        self.idle = timedelta(0)
        """For how long the attempt got no further."""
        self.is_over = False
        """Whether its token is no longer live: the runner has settled, or another took the job."""
        self._token = token
        self._settings = settings
        self._holds_until = since + _MARGIN * settings.lease.total_seconds()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_often, name=f"lease-{token}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()  # not joined: it may hang in the database

    @property
    def is_ours(self) -> bool:
        """Whether the attempt is certainly still ours; once it is not, it never is again."""
        return not self.is_over and time.monotonic() < self._holds_until

    def _renew_often(self) -> None:
        while self.is_ours and not self._done.wait(self._settings.heartbeat.total_seconds()):
            self._renew()

    def _renew(self) -> None:
        asked = time.monotonic()
        try:
            with database.transaction() as session:
                self.wish, self.idle = attempts.renew(session, self._token, lease=self._settings.lease)
        except LeaseLost:
            self.is_over = True
        except (OperationalError, InterfaceError) as error:
            _log.warning("a lease cannot be renewed: %s", error)
        else:
            if self.is_ours:  # a renewal that took too long changes nothing: the runner is being killed
                self._holds_until = asked + _MARGIN * self._settings.lease.total_seconds()
