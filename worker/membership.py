"""Is this process the worker of its name? Each process has an identity of its own; one process at a time has a name.

Knows the worker's row and a lock in the database that is held as long as the process lives: Postgres frees it with the
connection, so that the successor of a killed process can start at once. Knows nothing of jobs. Decision record 27
describes what happens when the lock and the heartbeats disagree.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from uuid import UUID

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from hsu_jobs import database, queries
from hsu_jobs.cluster import workers
from hsu_jobs.errors import NameTaken
from hsu_jobs.settings import Settings
from worker.devices import Devices

TO_NOTICE = 3.0
"""Seconds for which a starting process retries: Postgres frees the lock of a killed process with a short delay."""
_log = logging.getLogger(__name__)


class Membership:
    """A process's place among the workers."""

    def __init__(self, settings: Settings, *, name: str, devices: Devices) -> None:
        self.name = name
        self.identity: UUID = uuid.uuid4()
        self._settings = settings
        self._devices = devices
        self._lock = _NameLock(name)
        self._has_joined = False
        self._has_left = False
        self._was_refused = False
        self._rests_until = 0.0

    def join(self) -> None:
        """Take the name. Raises `NameTaken` if a live process of another identity has it."""
        is_free = self._lock.hold()
        with database.transaction() as session:
            workers.join(
                session,
                self.name,
                self.identity,
                **self._has(),
                is_free=is_free,
                silence=self._settings.lease,
            )
        self._has_joined = True

    def join_at_start(self) -> None:
        """As `join`, but wait for a lock of a killed predecessor until Postgres has noticed its end.

        Raises `NameTaken`.
        """
        deadline = time.monotonic() + TO_NOTICE
        while True:
            try:
                return self.join()
            except NameTaken:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def report(self) -> bool:
        """Report that the worker is there, and what it has; returns whether it still has the name."""
        if self._has_left:
            return False
        if self._has_joined:
            with database.transaction() as session:
                is_mine = workers.heartbeat(session, self.name, self.identity, **self._has())
            if is_mine:
                with contextlib.suppress(SQLAlchemyError):  # no free connection: the heartbeat is enough
                    self._lock.hold()
                return True
            self._step_back()
        return self._join_again()

    def leave(self) -> None:
        """Give up the name at once and for good: a thread that reports later is no longer a member."""
        self._has_left = True
        self._lock.release()

    def _has(self) -> workers.Equipment:
        return {"pool": self._settings.pool, "devices": self._devices.names, "slots": self._devices.slots}

    def _step_back(self) -> None:
        """Another process has the name: claim nothing more, and give it time to take the lock too."""
        _log.error("another process is worker %s now; this one claims no further job", self.name)
        self._has_joined, self._was_refused = False, True
        self._lock.release()
        self._rests_until = time.monotonic() + self._settings.lease.total_seconds()

    def _join_again(self) -> bool:
        if time.monotonic() < self._rests_until:
            return False
        try:
            self.join()
        except NameTaken as error:
            if not self._was_refused:
                _log.error("%s", error)
            self._was_refused = True
            return False
        self._was_refused = False
        return True


class _NameLock:
    """An advisory lock on a name, held by its own connection."""

    def __init__(self, name: str) -> None:
        self._question = select(queries.try_session_lock(f"worker {name}"))
        self._end = select(func.pg_advisory_unlock_all())
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Whether the lock is ours; if its connection broke, it is requested again."""
        if self._connection is not None:
            try:
                self._connection.execute(select(1))
            except SQLAlchemyError:
                self.release()
            else:
                return True
        connection = database.engine().connect()
        try:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            is_ours = bool(connection.execute(self._question).scalar_one())
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        if is_ours:
            self._connection = connection
        else:
            connection.close()
        return is_ours

    def release(self) -> None:
        """Free the lock, and close its connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(SQLAlchemyError):  # it may be broken: then Postgres has freed the lock
            connection.execute(self._end)
        with contextlib.suppress(SQLAlchemyError):
            connection.invalidate()  # never back to the pool: the lock ends with the connection
        connection.close()
