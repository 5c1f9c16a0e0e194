"""How is a large response sent, and how many are made at once?

Knows pieces of bytes, made in a thread, and nothing of their content. A process makes two at the same time, never two
for one user; the others wait for a slot without a thread or a session. So large reads take little memory, and a user
waits at most for one piece, or one response, of another user. The work ends when the client disconnects or the key
ends: the response then breaks off, so that no client takes a part of it for the whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, closing, contextmanager, suppress
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.fair_slots import FairSlots
from api.middleware import request_state
from api.middleware.etags import NotModified, has_current
from api.streams.access import Access, access_watch
from hsu_jobs.errors import TooManyRequests
from hsu_jobs.tables import ApiKey

AT_ONCE = 2
"""Large responses, or pieces of them, that a process makes at the same time: each takes some 30 MB, and half a core."""
MOST_OPEN = 8
"""Large answers of one user that a process makes, keeps and sends: each may take some 100 MB of the disk."""
RETRY_AFTER = 5.0
"""Seconds after which a client may ask for one more: about the time that one takes."""
IN_MEMORY = 1 << 20
"""Bytes of an answer that are kept in memory; a larger answer is written to the disk."""
PATIENCE = 30.0
"""Seconds beyond the usual time that a response may wait for its slot."""
_PIECE = 1 << 18

_log = logging.getLogger(__name__)
Pieces = Callable[[], Iterator[bytes]]


class LargeResponses:
    """The large responses of one process."""

    def __init__(self, *, at_once: int = AT_ONCE, most_open: int = MOST_OPEN) -> None:
        self.slots = FairSlots(at_once, most_of_one=1)
        self._most_open = most_open
        self._open: Counter[int] = Counter()

    @contextmanager
    def held(self, user_id: int) -> Iterator[None]:
        """Count one response of a user, from its beginning until it is sent. Raises `TooManyRequests`."""
        if self._open[user_id] >= self._most_open:
            detail = f"one user may ask for {self._most_open} large answers at the same time: wait for one of them"
            raise TooManyRequests(detail, seconds=RETRY_AFTER)
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]


def of_process(request: Request) -> LargeResponses:
    """The large responses of this process."""
    answers: LargeResponses = request.app.state.large_responses
    return answers


class Download(StreamingResponse):
    """A file of any length: each piece is made when the client has received the one before."""

    def __init__(self, request: Request, key: ApiKey, pieces: Pieces, **head: Any) -> None:
        self._all = of_process(request)
        self._key = key
        self._access = Access()
        self.pieces = pieces
        super().__init__(self._in_turns(), **head)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises `TooManyRequests` before anything is sent."""
        with self._all.held(self._key.user_id), access_watch(scope).hold(self._key) as self._access:
            await self.prepare(scope)
            async with aclosing(self.body_iterator):  # type: ignore[type-var]
                try:
                    await super().__call__(scope, receive, send)
                except BrokenOff as reason:
                    _log_end(reason)

    async def prepare(self, scope: Scope) -> None:
        """Do what comes before the first byte; may set the head and `pieces`, or raise a problem."""

    def slot(self) -> AbstractAsyncContextManager[None]:
        """One of the slots for making large responses."""
        return self._all.slots.slot(self._key.user_id)

    async def _in_turns(self) -> AsyncIterator[bytes]:
        with closing(self.pieces()) as pieces:  # type: ignore[type-var]
            while True:
                _require(self._access)
                async with self.slot():
                    piece = await run_in_threadpool(next, pieces, None)
                if piece is None:
                    return
                if piece:
                    yield piece


class LargeJson(Response):
    """JSON of any length, with a tag as every JSON has: first made whole on the disk, so that it shows one state."""

    media_type = "application/json"

    def __init__(self, request: Request, key: ApiKey, pieces: Pieces) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._request = request
        self._key = key
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, unless the client has it. Raises `TooManyRequests` and `NotModified` before anything is sent."""
        answers = of_process(self._request)
        request_state.current(scope).allow(PATIENCE)
        with (
            answers.held(self._key.user_id),
            access_watch(scope).hold(self._key) as access,
            SpooledTemporaryFile(max_size=IN_MEMORY) as file,
        ):
            tag = await _while_connected(self._made(answers, file), receive)
            if tag is None:
                return
            if has_current(self._request, tag):
                raise NotModified(tag)
            self.headers["etag"] = tag
            self.headers["content-length"] = str(file.tell())
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            file.seek(0)
            while piece := await run_in_threadpool(file.read, _PIECE):
                if access.ending:
                    _log_end(access.ending.detail)
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _made(self, answers: LargeResponses, file: IO[bytes]) -> str:
        gone = threading.Event()
        async with answers.slots.slot(self._key.user_id):
            making = asyncio.ensure_future(run_in_threadpool(_write, self._pieces, file, gone))
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                gone.set()
                with suppress(_Gone):
                    await making  # the slot is free when the thread has ended
                raise


class BrokenOff(Exception):
    """A download cannot go on, and why."""


def _log_end(reason: object) -> None:
    """Log why. The answer is not ended, so the server closes the connection before it is whole."""
    _log.warning("a download breaks off: %s", reason)


def _require(access: Access) -> None:
    if access.ending:
        raise BrokenOff(access.ending.detail)


class _Gone(Exception):
    """The client is gone."""


def _write(pieces: Pieces, file: IO[bytes], gone: threading.Event) -> str:
    """Write all pieces; returns the tag."""
    digest = hashlib.blake2b(digest_size=16)
    with closing(pieces()) as parts:  # type: ignore[type-var]
        for part in parts:
            if gone.is_set():
                raise _Gone
            digest.update(part)
            file.write(part)
    return f'"{digest.hexdigest()}"'


async def _while_connected(work: Any, receive: Receive) -> str | None:
    """The result of the task; None if the client disconnects first."""
    making = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((making, leaving), return_when=asyncio.FIRST_COMPLETED)
        return making.result() if making.done() else None
    finally:
        for task in (making, leaving):
            task.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
