"""What do routes hold? A session, that is one transaction a request, and what they share of its headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy import orm

from hsu_jobs import database

AT_ONCE = 20
"""Requests that hold a session at the same time; the others wait their turn and hold nothing.

With as many as there are threads (40), each may hold a connection and wait for a thread, while each thread waits for a
connection: 200 streams that were opened at once stood still until Postgres gave up on them.
"""


async def turn(request: Request) -> AsyncIterator[None]:
    """The request's turn to hold a session."""
    turns: asyncio.Semaphore = request.app.state.turns
    async with turns:
        yield


def session(_turn: Annotated[None, Depends(turn, scope="function")]) -> Iterator[orm.Session]:
    """The request's transaction."""
    with database.transaction() as opened:
        yield opened


Session = Annotated[orm.Session, Depends(session, scope="function")]
"""scope=function: what the route did is committed before the client hears of it."""

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Sending the same request again with it gives the same job."),
]
