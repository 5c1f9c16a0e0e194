"""What does the live stream of a job's points send? The steps after a position, column by column, as they are written.

A position is an attempt and a step. When a later attempt resumed from a checkpoint before that step, a `rollback` says
from which step on the client's points are void, and they are sent again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from api.streams.sse import Page, end, message
from api.views.jobs import Real, View
from hsu_jobs import curves, database, queries
from hsu_jobs.curves import LAST_STEP, Choice, Curve
from hsu_jobs.errors import BadRequest, SpecNotReadable
from hsu_jobs.spec import read_any
from hsu_jobs.states import TERMINAL
from hsu_jobs.tables import Attempt, Job

_MOST = 500
"""Recorded steps in a page."""
_WINDOWS = 20
"""Pages' worths of steps that one read looks at: the points of a sparse curve are far apart."""
_POSITION = re.compile("([0-9]{1,9}):(-1|[0-9]{1,18})")


class Position(NamedTuple):
    """How far a client is."""

    attempt: int
    """The last one that had begun."""
    step: int

    def __str__(self) -> str:
        return f"{self.attempt}:{self.step}"


START = Position(0, -1)


class SeriesView(View):
    """What one series measures."""

    layer: str | None
    measure: str


class PointsView(View):
    """What was recorded at some steps, in ascending order."""

    steps: list[int]
    times: list[float]
    """Seconds since the epoch."""
    series: list[SeriesView]
    """Those that have a value at any of the steps."""
    values: list[list[Real | None]]
    """For each series its value at each step; null where it has none."""


class RollbackView(View):
    """What was sent from a step on is void; it is sent again."""

    attempt: int
    step: int


@dataclass(frozen=True)
class Points:
    """The points of a job; all of them unless layers or measures are named."""

    job_id: int
    layers: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()

    def check(self, session: Session, job: Job) -> None:
        """Raise `NotFound` if a requested curve will never exist."""
        if job.state in TERMINAL:
            curves.read(session, job.id, self._choice(first=0, last=0))

    def after(self, position: Position) -> Page[Position]:
        """The steps after that position."""
        with database.transaction() as session:
            database.repeatable_read(session)
            job = session.execute(queries.job_by_id(self.job_id)).scalar_one()
            later = session.execute(queries.attempts_after(job.id, position.attempt)).scalars().all()
            pieces, position = _rolled_back(later, position)
            found, position, is_full = self._read(session, job, position)
        if points := _points(found):
            position = position._replace(step=points.steps[-1])
            pieces.append(message(points, event="points", position=position))
        is_last = job.state in TERMINAL and not is_full
        if is_last:
            pieces.append(end(self.job_id, job.state))
        return Page(b"".join(pieces), position, is_full, is_last)

    def _read(self, session: Session, job: Job, position: Position) -> tuple[list[Curve], Position, bool]:
        """The points of the next steps, up to `_MOST` recorded ones; the next position; whether there may be more.

        Steps without a requested point are read only once: the position moves past them.
        """
        if not curves.are_there(session, self.job_id, self._choice(first=0, last=0)):
            return [], position, False  # nothing more yet
        window = _MOST * _every(job)
        written = _written(job)
        for _ in range(_WINDOWS):
            last = position.step + window
            if last > written:
                return self._between(session, first=position.step + 1, last=LAST_STEP), position, False
            if found := self._between(session, first=position.step + 1, last=last):
                return found, position, True
            position = position._replace(step=last)
        return [], position, True

    def _between(self, session: Session, *, first: int, last: int) -> list[Curve]:
        found = curves.read(session, self.job_id, self._choice(first=first, last=last))
        return [curve for curve in found if curve.steps.size]

    def _choice(self, *, first: int, last: int) -> Choice:
        return Choice(self.layers, self.measures, first, last)


def _written(job: Job) -> int:
    """The step up to which every curve is written, and stays written unless an attempt resumes from before it."""
    begun = [attempt for attempt in job.attempts if attempt.begun_at is not None]
    parts = [(job.parent_step or 0) - 1]
    if begun:
        parts += [begun[-1].recorded, (begun[-1].resumed_from or 0) - 1]
    return max(parts)


def _every(job: Job) -> int:
    """Steps between two recorded ones; 1 where this version cannot read the spec."""
    try:
        return read_any(job.spec).recorded_every
    except SpecNotReadable:
        return 1


def parse_position(job: Job, last_event_id: str | None) -> Position:
    """The position from which a client resumes. Raises `BadRequest`."""
    if last_event_id is None:
        return START
    found = _POSITION.fullmatch(last_event_id)
    last = job.attempts[-1].number if job.attempts else 0
    if found is None or int(found[1]) > last:
        expected = "`attempt:step` as this stream sent it"
        raise BadRequest(f"Last-Event-ID: expected {expected}, found {last_event_id[:40]!r}")
    return Position(int(found[1]), int(found[2]))


def _rolled_back(attempts: Sequence[Attempt], position: Position) -> tuple[list[bytes], Position]:
    """The messages about attempts that have begun since, and the position to read on from."""
    begun = [attempt for attempt in attempts if attempt.begun_at is not None]
    if not begun:
        return [], position
    step = min(attempt.resumed_from or 0 for attempt in begun)
    if position.step < step:
        return [], position._replace(attempt=begun[-1].number)
    position = Position(begun[-1].number, step - 1)
    return [message(RollbackView(attempt=position.attempt, step=step), event="rollback", position=position)], position


def _points(found: Sequence[Curve]) -> PointsView | None:
    """Several series in one table."""
    if not found:
        return None
    steps = np.unique(np.concatenate([curve.steps for curve in found]))
    times = np.empty(len(steps))
    values = []
    for curve in found:
        places = np.searchsorted(steps, curve.steps)
        times[places] = curve.times
        column = np.full(len(steps), None, dtype=object)
        column[places] = curve.values
        values.append(column.tolist())
    series = [SeriesView(layer=curve.layer, measure=curve.measure) for curve in found]
    return PointsView(steps=steps.tolist(), times=times.tolist(), series=series, values=values)
