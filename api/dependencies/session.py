"""Which database session does a route use? One transaction for each request; a request that only reads has none."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request, Response
from sqlalchemy import orm
from starlette.concurrency import run_in_threadpool

from api.dependencies import cancellation
from api.fair_slots import FairSlots
from api.middleware import audit, request_state
from hsu_jobs import database

AT_ONCE = 20
"""Requests that hold a session at the same time; the others wait for a slot and hold nothing.

With as many slots as threads (40), each request may hold a connection and wait for a thread, while each thread waits
for a connection: 200 streams that were opened at once stood still until Postgres timed out.
"""
MOST_OF_ONE = 2
"""The most slots of one user: a user with many requests at once delays their own requests, not those of others.

Threads share a core. With 4 slots for one user, others waited 1.6 times as long as with 2, and the user was answered no
faster (`benchmarks/fairness.py`).
"""
_NOBODY = 0
"""In place of a user's number, for requests without a key."""


async def slot(request: Request) -> AsyncIterator[None]:
    """The request's slot for a session."""
    slots: FairSlots = request.app.state.slots
    key = request_state.current(request.scope).key
    async with slots.slot(key.user_id if key else _NOBODY):
        yield


async def session(
    request: Request, response: Response, _slot: Annotated[None, Depends(slot, scope="function")]
) -> AsyncIterator[orm.Session]:
    """The request's transaction; a GET or HEAD changes nothing and has none.

    Opening it and returning a reader's connection do not wait for the database, so neither takes a thread.
    """
    if request.method in ("GET", "HEAD"):
        with database.reading() as opened:
            async with cancellation.cancelling(request, opened):
                yield opened
        return
    transaction = database.transaction()
    opened = transaction.__enter__()
    try:
        async with cancellation.cancelling(request, opened):
            yield opened
        audit.write(opened, request, response)
    except BaseException:
        await run_in_threadpool(transaction.__exit__, *sys.exc_info())
        raise
    await run_in_threadpool(transaction.__exit__, None, None, None)


Session = Annotated[orm.Session, Depends(session, scope="function")]
"""scope=function: the transaction is committed before the response is sent."""
