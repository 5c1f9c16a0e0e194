"""How do a running job's curves and checkpoints reach Postgres? Batched by a thread, fenced by the attempt's token.

What cannot be written while the database is away waits, in memory and then on the disk, and is written first when the
database is back. A checkpoint is recorded together with the curves before it, never earlier. A checkpoint that the
storage does not take waits as well; at the end it waits for a limited time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self
from uuid import UUID

from hsu_core.outcomes import Reference, Saved, Series
from hsu_jobs import attempts, database
from hsu_jobs.attempts import DesiredState
from hsu_jobs.curves import Point
from hsu_jobs.database_outage import AWAY
from hsu_jobs.errors import LeaseLost
from hsu_jobs.states import Wanted
from worker.spool import Spool

_log = logging.getLogger(__name__)


IN_MEMORY = 200_000
"""Values that may wait in memory, at about 100 bytes each; the rest waits on the disk."""


class _News(NamedTuple):
    """What is to be written in one transaction."""

    points: tuple[Point, ...] = ()
    saved: tuple[Saved, ...] = ()
    skipped: Mapping[str, str] = MappingProxyType({})


class Reporter:
    """Takes points and checkpoints from the training loop and writes them to the database."""

    def __init__(
        self,
        token: UUID,
        *,
        flush_seconds: float,
        step: int = 0,
        on_saved: Callable[[], None] = lambda: None,
        publish: Callable[[Path], str] = str,
        storage_patience: float = 0.0,
        folder: Path | None = None,
    ) -> None:
        """`step`: where the attempt begins. `on_saved` is called once checkpoints are recorded.

        `publish` puts a file where all machines find it, or raises OSError; `storage_patience` is how many seconds the
        last files wait at the end.

        `folder` is where points wait on the disk when they are too many for memory.
        """
        self.desired = DesiredState(Wanted.RUN, None)
        self.lost = False
        """Whether nothing more is written: the attempt is no longer ours, or writing failed unexpectedly."""
        self.unpublished: str | None = None
        """Why a checkpoint is not where all machines find it, once the reporter has closed; None if all are."""
        self._token = token
        self._publish = publish
        self._storage_patience = storage_patience
        self._every = flush_seconds
        self._step = step
        self._on_saved = on_saved
        self._references: Mapping[Series, Reference] = {}
        self._folder = folder
        self._fresh: list[Point] = []
        self._saved: list[Saved] = []
        self._skipped: Mapping[str, str] = {}
        self._unconfirmed = _News()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._flush_often, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._spool = Spool(self._folder)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._spool.close()

    def describe(self, references: Mapping[Series, Reference]) -> None:
        """Take the references of the points that follow; they are written with each series' first point."""
        self._references = references

    def skipped(self, layers: Mapping[str, str]) -> None:
        """Take the layers that the regularizer leaves out, and why."""
        with self._lock:
            self._skipped = dict(layers)

    def report(self, step: int, values: Mapping[Series, float]) -> None:
        """Take the values measured at a step."""
        with self._lock:
            self._step = step
            self._fresh.append(Point(step, time.time(), dict(values)))

    def saved(self, state: Saved) -> None:
        """Take a checkpoint that is on the disk."""
        with self._lock:
            self._step = state.step
            self._saved.append(state)

    def _flush_often(self) -> None:
        while not (self.lost or self._closing.wait(self._every)):
            self._flush()
        closed = time.monotonic()
        while not (self.lost or self._flush()):
            if self.unpublished and time.monotonic() - closed > self._storage_patience:
                self._saved = []
            time.sleep(self._every)

    def _flush(self) -> bool:
        """Write what waits; returns whether nothing is left."""
        if self._unconfirmed == _News():
            self._unconfirmed = self._next()
        try:
            self._write(self._unconfirmed)
        except LeaseLost:
            self.lost = True
            return False
        except AWAY as error:
            self._put_aside()
            points = len(self._unconfirmed.points) + len(self._fresh)
            _log.warning(
                "the database does not answer; %d points wait, and %d bytes: %s", points, self._spool.size, error
            )
            return False
        except Exception:
            _log.exception("the curves cannot be written")  # no result without its curves: the attempt ends unsettled
            self.lost = True
            return False
        self._unconfirmed = _News()
        return not (self._fresh or self._saved or self._skipped or self._spool.size)

    def _next(self) -> _News:
        """What to write next: the oldest points, and checkpoints once all points before them are included."""
        if self._spool.size:
            return _News(points=self._spool.take())
        with self._lock:
            news = _News(tuple(self._fresh), tuple(self._saved), self._skipped)
            self._fresh, self._saved, self._skipped = [], [], {}
        return news

    def _put_aside(self) -> None:
        """Move points to the disk when they are too many for memory."""
        with self._lock:
            if sum(len(point.values) for point in self._fresh) <= IN_MEMORY:
                return
            try:
                self._spool.append(self._fresh)
            except OSError as error:
                _log.warning("points stay in memory: the disk does not take them: %s", error)
            else:
                self._fresh = []

    def _write(self, news: _News) -> None:
        saved, waiting = self._published(news.saved)
        with database.transaction() as session:
            self.desired = attempts.progress(
                session,
                self._token,
                step=self._step,
                points=news.points,
                references=self._references,
                saved=saved,
                skipped=news.skipped,
            )
        with self._lock:
            self._saved[:0] = waiting
        if saved:
            self._on_saved()

    def _published(self, states: Sequence[Saved]) -> tuple[list[tuple[Saved, str]], list[Saved]]:
        """Checkpoints that all machines find now, with their names there, and those that wait for the storage."""
        published, waiting = [], []
        if states:
            self.unpublished = None
        for state in states:
            try:
                published.append((state, self._publish(state.path)))
            except FileNotFoundError as error:
                _log.warning("the checkpoint of step %d is gone, the one before stays: %s", state.step, error)
            except OSError as error:
                _log.warning("the checkpoint of step %d waits for the storage: %s", state.step, error)
                self.unpublished = str(error)
                waiting.append(state)
        return published, waiting
