"""What happens to a request's work when its client is gone? The SQL statement that it waits for is cancelled.

A thread cannot be stopped, but its statement can. The rest of the work in Python is bounded by the limits of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from sqlalchemy import orm
from starlette.concurrency import run_in_threadpool

from hsu_jobs import database

EVERY = 1.0
"""Seconds between two checks, and before the first: most requests are answered long before, and cost only a timer."""


@asynccontextmanager
async def cancelling(request: Request, session: orm.Session) -> AsyncIterator[None]:
    """Cancel the session's statement once the client is gone, or has been answered 504."""
    loop = asyncio.get_running_loop()
    watches: list[asyncio.Task[None]] = []
    timer = loop.call_later(EVERY, lambda: watches.append(loop.create_task(_watch(request, session))))
    try:
        yield
    finally:
        timer.cancel()
        for watch in watches:
            watch.cancel()
            # Wait for a cancellation that is under way: afterwards another request uses the connection.
            await asyncio.gather(watch, return_exceptions=True)


async def _watch(request: Request, session: orm.Session) -> None:
    while True:
        if await request.is_disconnected():
            await run_in_threadpool(database.cancel_statement, session)
        await asyncio.sleep(EVERY)
