"""How does a live stream work? Server-sent events from a position on, until the job has ended.

Knows the wire format and positions. Knows nothing of what is sent: a source reads and encodes it, a page at a time. A
stream keeps its position and no more, and holds no session while it waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Hashable
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from api.streams.access import Access
from api.streams.wakeups import Wakeups
from hsu_jobs.database_outage import AWAY
from hsu_jobs.states import State

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent, so that no proxy closes the connection."""
LONGEST = 3600.0
"""Seconds after which a stream ends and the client resumes it."""
RETRY = 1000
"""Milliseconds after which a client resumes."""

_log = logging.getLogger(__name__)
_Position = TypeVar("_Position", bound=Hashable)

LAST_EVENT_ID: dict[str, Any] = {"alias": "Last-Event-ID"}
_EVENT = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {name: {"type": "string"} for name in ("event", "data", "id")},
    "required": ["event", "data"],
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, until `end`: the job has ended and everything was sent. A stream that "
        "breaks off before, after an hour at the latest, is resumed with `Last-Event-ID`; a comment comes in silence. "
        "`unauthorized` is the last one when the key that opened it is revoked or expires; its data say which.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    }
}


class Page(NamedTuple, Generic[_Position]):
    """What comes next, encoded."""

    text: bytes
    next: _Position
    """The position to read on from."""
    is_full: bool
    """Whether there is more already."""
    is_last: bool
    """Whether nothing will come after it."""


class Source(Hashable, Protocol[_Position]):
    """What a stream sends; equal sources send the same."""

    @property
    def job_id(self) -> int:
        """The job whose changes wake the stream."""

    def after(self, position: _Position) -> Page[_Position]:
        """The page after a position, in a transaction of its own."""


class End(BaseModel):
    """The last message of a stream."""

    job: int
    state: State | str


class EventStream(StreamingResponse):
    """Encoded events. FastAPI's own response for them encodes again what a route yields."""

    media_type = "text/event-stream"


class AccessEnded(BaseModel):
    """The last message of a stream whose key is not valid any more."""

    job: int
    code: str
    detail: str


def respond(wakeups: Wakeups, source: Source[_Position], position: _Position, *, access: Access) -> EventStream:
    """Everything after a position, as it comes, while access lasts."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventStream(_follow(wakeups, source, position, access), headers=headers)


def message(data: BaseModel, *, event: str, position: object = None) -> bytes:
    """One event on the wire; with a position, a client resumes after it."""
    return format_sse_event(
        data_str=data.model_dump_json(), event=event, id=None if position is None else str(position)
    )


def end(job_id: int, state: State) -> bytes:
    """The last event."""
    return message(End(job=job_id, state=state), event="end")


async def _follow(
    wakeups: Wakeups, source: Source[_Position], position: _Position, access: Access
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RETRY)
    spoke = time.monotonic()
    async for subscription in wakeups.changes(source.job_id, seconds=LONGEST):
        is_full = True
        while is_full:
            if access.ending:
                yield message(AccessEnded(job=source.job_id, **access.ending._asdict()), event="unauthorized")
                return
            try:
                page = await subscription.read((source, position), partial(source.after, position))
            except AWAY as error:
                _log.warning("a stream of job %d waits for the database: %s", source.job_id, error)
                break
            position, is_full = page.next, page.is_full
            if page.text:
                yield page.text
                spoke = time.monotonic()
            if page.is_last:
                return
        if time.monotonic() - spoke > KEEP_ALIVE:
            yield format_sse_event(comment="still here")
            spoke = time.monotonic()
