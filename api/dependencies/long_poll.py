"""How long may an answer wait? Until a job's state changes, or the time is over.

Knows job states and wakeups. No session and no thread is held while a request waits: the key and the job are checked
in a transaction before.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from api.dependencies.auth import Viewer
from api.dependencies.jobs import JobId, visible_job
from api.middleware import request_state
from api.streams.access import access_watch
from api.streams.wakeups import LiveWakeups
from hsu_jobs import database, queries
from hsu_jobs.states import State
from hsu_jobs.tables import ApiKey

_LONGEST = 60.0


async def changed(
    job_id: JobId,
    wakeups: LiveWakeups,
    key: Viewer,
    request: Request,
    wait: Annotated[
        float, Query(ge=0, le=_LONGEST, description="Seconds that the answer may wait for another state.")
    ] = 0,
    during: Annotated[
        State | None,
        Query(alias="while", description="The state during which it waits; by default that at the time of asking."),
    ] = None,
) -> None:
    """Return once the job is no longer in that state. Raises `NotFound` or `TooManyStreams` at once.

    Raises `Unauthorized` at once, or when the caller's key is revoked or expires during the wait.
    """
    if not wait:
        return
    state = await run_in_threadpool(_state_for, key, job_id)
    with access_watch(request.scope).hold(key) as access:
        request_state.current(request.scope).allow(wait)
        async for subscription in wakeups.changes(job_id, seconds=wait):
            access.require()
            if await subscription.read("state", partial(_state, job_id)) != (during or state):
                return


Changed = Annotated[None, Depends(changed, scope="function")]
"""Comes before the route's other parameters, so that they are read after the wait."""


def _state_for(key: ApiKey, job_id: int) -> State:
    with database.transaction() as session:
        return visible_job(job_id, key, session).state


def _state(job_id: int) -> State:
    with database.transaction() as session:
        return session.execute(queries.state_of(job_id)).scalar_one()
