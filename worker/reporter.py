"""How do a running job's curves reach Postgres? Batched by a thread, fenced by the attempt's token, written once.

What cannot be written while the database is away stays in memory and goes first when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError

from hsu_core.outcomes import Reference, Series
from hsu_jobs import curves, database, lifecycle
from hsu_jobs.curves import Point
from hsu_jobs.errors import LeaseLost
from hsu_jobs.states import Wanted

_log = logging.getLogger(__name__)


class Reporter:
    """Takes points from the training loop and brings back what the owner wants."""

    def __init__(self, token: UUID, *, flush_seconds: float) -> None:
        self.wanted = Wanted.RUN
        self.lost = False
        """Whether nothing more is written: the attempt is no longer ours, or writing failed in an unforeseen way."""
        self._token = token
        self._every = flush_seconds
        self._step = 0
        self._references: Mapping[Series, Reference] = {}
        self._fresh: list[Point] = []
        self._unconfirmed: list[Point] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._flush_often, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def describe(self, references: Mapping[Series, Reference]) -> None:
        """Take what the points that follow are to be compared with; it is written with each series' first point."""
        self._references = references

    def report(self, step: int, values: Mapping[Series, float]) -> None:
        """Take what was measured at a step."""
        with self._lock:
            self._step = step
            self._fresh.append(Point(step, time.time(), dict(values)))

    def _flush_often(self) -> None:
        while not (self.lost or self._closing.wait(self._every)):
            self._flush()
        while not (self.lost or self._flush()):
            time.sleep(self._every)

    def _flush(self) -> bool:
        """Write what there is; whether it was written."""
        if not self._unconfirmed:
            with self._lock:
                self._unconfirmed, self._fresh = self._fresh, []
        try:
            self._write(self._unconfirmed)
        except LeaseLost:
            self.lost = True
            return False
        except (OperationalError, InterfaceError) as error:
            _log.warning("the database does not answer; %d points wait: %s", len(self._unconfirmed), error)
            return False
        except Exception:
            _log.exception("the curves cannot be written")  # no result without its curves: the attempt ends unsettled
            self.lost = True
            return False
        self._unconfirmed = []
        return not self._fresh

    def _write(self, points: list[Point]) -> None:
        with database.transaction() as session:
            job_id, self.wanted = lifecycle.progress(session, self._token, step=self._step)
            curves.write(session, job_id, points, references=self._references)
