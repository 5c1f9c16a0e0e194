"""What does the live stream of a job's events send? Each event as in the page of events, by its id."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.streams.sse import Page, end, message
from api.views.jobs import EventView
from hsu_jobs import database, queries
from hsu_jobs.errors import BadRequest
from hsu_jobs.events import kind_of
from hsu_jobs.states import TERMINAL
from hsu_jobs.tables import Job

_MOST = 100
"""Events in a page."""
_ID = re.compile("[0-9]{1,18}")


@dataclass(frozen=True)
class Events:
    """The events of a job; a position is the id of an event."""

    job_id: int

    def after(self, position: int) -> Page[int]:
        """The events after that one."""
        with database.transaction() as session:
            rows = session.execute(queries.state_and_events(self.job_id, after=position, limit=_MOST)).all()
        events = [event for _, event in rows if event is not None]
        state = rows[0][0]
        pieces = [message(EventView.of(event), event=sse_name(event.event), position=event.id) for event in events]
        is_full = len(events) == _MOST
        is_last = state in TERMINAL and not is_full
        if is_last:
            pieces.append(end(self.job_id, state))
        return Page(b"".join(pieces), events[-1].id if events else position, is_full, is_last)


def sse_name(stored: object) -> str:
    """The name of a stored event on the wire, where a line break would end it."""
    return " ".join(kind_of(stored).split()) or "unknown"


def parse_position(session: Session, job: Job, last_event_id: str | None) -> int:
    """The position from which a client resumes. Raises `BadRequest`."""
    if last_event_id is None:
        return 0
    event_id = int(last_event_id) if _ID.fullmatch(last_event_id) else 0
    if not session.execute(queries.is_event_of(job.id, event_id)).scalar_one():
        found = last_event_id[:40]
        raise BadRequest(f"Last-Event-ID: expected the id of one of job {job.id}'s events, found {found!r}")
    return event_id
