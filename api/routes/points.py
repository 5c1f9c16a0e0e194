"""Points: what a job measures, as it is written."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header

from api.dependencies.curve_query import Layers, Measures
from api.dependencies.jobs import OwnedJob
from api.dependencies.session import Session
from api.problems import problems
from api.streams import sse
from api.streams.access import LongLived
from api.streams.curves import Points, parse_position
from api.streams.sse import EventStream
from api.streams.wakeups import LiveWakeups
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized, UpgradeRequired

router = APIRouter(prefix="/v1/jobs", tags=["curves"])


@router.get(
    "/{job_id}/curves/stream",
    response_class=EventStream,
    responses=sse.STREAM | problems(BadRequest, Unauthorized, NotFound, UpgradeRequired),
)
def stream_points(
    job: OwnedJob,
    session: Session,
    wakeups: LiveWakeups,
    long_lived: LongLived,
    layer: Layers = [],  # noqa: B006
    measure: Measures = [],  # noqa: B006
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=64, description="Only steps after it: `attempt:step`.")
    ] = None,
) -> EventStream:
    """What a job measured, and what it measures from now on, as server-sent events.

    `points`: the next `steps` with their `times` (seconds since the epoch), the `series` that have values there, and
    for each series its `values`, null where it has none. `rollback`: the job resumed from a checkpoint; what was sent
    from `step` on is void and is sent again. `end`: the job has ended, with its final `state`.

    A layer or a measure that does not exist yet is waited for, unless the job has ended.
    """
    points = Points(job.id, tuple(layer), tuple(measure))
    points.check(session, job)
    return sse.respond(wakeups, points, parse_position(job, last_event_id), access=long_lived.begin())
