"""Events: what happened to a job, in order, and as it happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query

from api.dependencies.jobs import OwnedJob
from api.dependencies.session import Session
from api.problems import problems
from api.streams import sse
from api.streams.access import LongLived
from api.streams.events import Events, parse_position
from api.streams.sse import EventStream
from api.streams.wakeups import LiveWakeups
from api.views.each_row import shown
from api.views.jobs import EventView, View
from hsu_core.spec.values import EXACT
from hsu_jobs import queries
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized, UpgradeRequired

router = APIRouter(prefix="/v1/jobs", tags=["events"])


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
    cursor: Annotated[int, Query(ge=0, le=EXACT, description="Only events after the one of this id.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> EventPage:
    """What happened to a job since it was submitted."""
    rows = session.execute(queries.events_of(job.id, after=cursor, limit=limit + 1)).scalars().all()
    next_cursor = str(rows[limit - 1].id) if len(rows) > limit else None
    return EventPage(job=job.id, events=shown("list of events", rows[:limit], EventView.of), next_cursor=next_cursor)


@router.get(
    "/{job_id}/events/stream",
    response_class=EventStream,
    responses=sse.STREAM | problems(BadRequest, Unauthorized, NotFound, UpgradeRequired),
)
def stream_events(
    job: OwnedJob,
    session: Session,
    wakeups: LiveWakeups,
    long_lived: LongLived,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=64, description="Only events after the one of this id.")
    ] = None,
) -> EventStream:
    """What happened to a job, and what happens from now on, as server-sent events.

    The name of each is its `kind`, and its data is an event as in the page of events. The last one, after the job has
    ended, is `end`; its data hold the job's final `state`.
    """
    position = parse_position(session, job, last_event_id)
    return sse.respond(wakeups, Events(job.id), position, access=long_lived.begin())
