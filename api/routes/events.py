"""Events: what happened to a job, in order."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import TypeAdapter

from api.deps import Session
from api.owned import OwnedJob
from api.problems import problems
from api.views import View
from hsu_jobs import queries
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized
from hsu_jobs.events import Event

router = APIRouter(prefix="/v1/jobs", tags=["events"])
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class EventView(View):
    """Something that happened to a job."""

    id: int
    at: datetime
    event: Event


class EventPage(View):
    """A page of events, the oldest first."""

    job: int
    events: list[EventView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


@router.get("/{job_id}/events", responses=problems(BadRequest, Unauthorized, NotFound))
def list_events(
    job: OwnedJob,
    session: Session,
    cursor: Annotated[int, Query(ge=0, le=2**63 - 1, description="Only events after the one of this id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> EventPage:
    """What happened to a job since it was submitted."""
    rows = session.execute(queries.events_of(job.id, after=cursor, limit=limit + 1)).scalars().all()
    events = [EventView(id=row.id, at=row.at, event=_EVENT.validate_python(row.event)) for row in rows[:limit]]
    return EventPage(job=job.id, events=events, next_cursor=str(events[-1].id) if len(rows) > limit else None)
