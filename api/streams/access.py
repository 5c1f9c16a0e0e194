"""Which long answers still have a valid key? Streams, followed logs, long polls and downloads end when their key ends.

Knows the keys of this process's long answers, and how many each has. Knows nothing of what is sent. One query every
`CHECK` seconds asks which of the keys have been revoked or have expired.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from sqlalchemy import exc
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from api.middleware import request_state
from hsu_jobs import database, queries
from hsu_jobs.errors import TooManyStreams, Unauthorized
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey

CHECK = 2.0
"""Seconds between two looks at the keys."""

_log = logging.getLogger(__name__)


class AccessEnd(NamedTuple):
    """Why access ended."""

    code: str
    """`key_revoked` or `key_expired`."""
    detail: str


@dataclass(eq=False)
class Access:
    """The access of one long answer."""

    ending: AccessEnd | None = None
    """Why it ended; None while it is valid."""

    def require(self) -> None:
        """Raise `Unauthorized` if it has ended."""
        if self.ending:
            raise Unauthorized(self.ending.detail)


class AccessWatch:
    """The long answers of this process, by key."""

    def __init__(self) -> None:
        self._held: defaultdict[int, set[Access]] = defaultdict(set)

    @contextmanager
    def hold(self, key: ApiKey) -> Iterator[Access]:
        """Access that lasts as long as the `with`. Raises `TooManyStreams`."""
        mine, most = self._held[key.id], settings().streams_per_key
        if len(mine) >= most:
            raise TooManyStreams(f"this key has {len(mine)} streams and waiting answers open: {most} are the most")
        access = Access()
        mine.add(access)
        try:
            yield access
        finally:
            mine.discard(access)
            if not mine:
                self._held.pop(key.id, None)

    def end(self, keys: Mapping[int, AccessEnd]) -> None:
        """End the access of these keys."""
        for key_id, ending in keys.items():
            for access in self._held.get(key_id, ()):
                access.ending = ending

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch the keys while the `with` lasts, and end the access of those that end."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK)
            if not self._held:
                continue
            try:
                ended = await run_in_threadpool(_ended, list(self._held))
            except exc.SQLAlchemyError as error:
                _log.warning("the keys of %d open streams could not be checked: %s", len(self._held), error)
                continue
            self.end(ended)


def _ended(key_ids: Collection[int]) -> dict[int, AccessEnd]:
    with database.reading() as session:
        rows = session.execute(queries.keys_that_ended(key_ids)).all()
    return {key_id: REVOKED if is_revoked else EXPIRED for key_id, is_revoked in rows}


REVOKED = AccessEnd("key_revoked", "the API key that this was opened with was revoked")
EXPIRED = AccessEnd("key_expired", "the API key that this was opened with has expired")


def access_watch(scope: Scope) -> AccessWatch:
    """The access watch of this process."""
    found: AccessWatch = scope["app"].state.access_watch
    return found


class AccessUntilSent:
    """Access of one request, until its answer is sent."""

    def __init__(self, request: Request, until_sent: ExitStack) -> None:
        self._request = request
        self._until_sent = until_sent

    def begin(self) -> Access:
        """Hold access until the whole answer is sent. Raises `TooManyStreams`."""
        scope = self._request.scope
        key = request_state.current(scope).key
        assert key is not None  # a route with a long answer requires a key first
        return self._until_sent.enter_context(access_watch(scope).hold(key))


async def _until_sent(request: Request) -> AsyncIterator[AccessUntilSent]:
    with ExitStack() as until_sent:
        yield AccessUntilSent(request, until_sent)


LongLived = Annotated[AccessUntilSent, Depends(_until_sent)]
"""scope=request: access ends when the answer is sent, or the client is gone."""
