"""How long may an answer take to begin? A late one is replaced by a 504, even if its work continues.

A thread cannot be stopped, but its statement can: `database.limit_statements` has Postgres cancel it at the same time.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import request_state
from api.problems import respond
from hsu_jobs.errors import TookTooLong


class TimeLimit:
    """ASGI middleware: an answer begins within `limit`, plus the wait that the client asked for; a stream may last."""

    def __init__(self, app: ASGIApp, *, limit: timedelta) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own, loop = request_state.current(scope), asyncio.get_running_loop()
        alarms: list[asyncio.TimerHandle] = []
        late: list[asyncio.Task[None]] = []

        def give_up() -> None:
            if extra := own.take_extra_seconds():
                alarms.append(loop.call_later(extra, give_up))
                return
            problem = TookTooLong(f"the answer did not begin within {self.limit.total_seconds():g} s; ask for less")
            late.append(asyncio.ensure_future(respond(problem)(scope, receive, send)))

        async def in_time(message: Message) -> None:
            if late:
                return
            alarms[-1].cancel()
            await send(message)

        alarms.append(loop.call_later(self.limit.total_seconds(), give_up))
        try:
            await self.app(scope, receive, in_time)
        finally:
            alarms[-1].cancel()
        await asyncio.gather(*late)
