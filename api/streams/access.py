"""What goes on after it was allowed? Streams, followed logs, waiting answers, downloads: each ends with its key.

Knows keys and how many things rest on each, in this process. Knows nothing of what is sent. Whether the keys still open
anything is asked every `CHECK` seconds, in one query for all of them.
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
    """Why something that lasted ends."""

    code: str
    """`key_revoked` or `key_expired`."""
    detail: str


@dataclass(eq=False)
class Access:
    """The right of one thing that lasts."""

    ending: AccessEnd | None = None
    """Why it has ended, once it has."""

    def require(self) -> None:
        """Raise `Unauthorized` once it has ended."""
        if self.ending:
            raise Unauthorized(self.ending.detail)


class AccessWatch:
    """What lasts in this process, by key."""

    def __init__(self) -> None:
        self._held: defaultdict[int, set[Access]] = defaultdict(set)

    @contextmanager
    def hold(self, key: ApiKey) -> Iterator[Access]:
        """The right of something that lasts as long as the `with`. Raises `TooManyStreams`."""
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
        """End what rests on these keys."""
        for key_id, ending in keys.items():
            for access in self._held.get(key_id, ()):
                access.ending = ending

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """End what rests on keys that have ended, while the `with` lasts."""
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
                _log.warning("the keys of %d streams cannot be looked at: %s", len(self._held), error)
                continue
            self.end(ended)


def _ended(key_ids: Collection[int]) -> dict[int, AccessEnd]:
    with database.reading() as session:
        rows = session.execute(queries.keys_that_ended(key_ids)).all()
    return {key_id: REVOKED if is_revoked else EXPIRED for key_id, is_revoked in rows}


REVOKED = AccessEnd("key_revoked", "the API key that this was opened with was revoked")
EXPIRED = AccessEnd("key_expired", "the API key that this was opened with has expired")


def access_watch(scope: Scope) -> AccessWatch:
    """Those of the process that answers."""
    found: AccessWatch = scope["app"].state.access_watch
    return found


class AccessUntilSent:
    """A request's way to last."""

    def __init__(self, request: Request, until_sent: ExitStack) -> None:
        self._request = request
        self._until_sent = until_sent

    def begin(self) -> Access:
        """From now on until the whole answer is sent. Raises `TooManyStreams`."""
        scope = self._request.scope
        key = request_state.current(scope).key
        assert key is not None  # a route that lasts asks for a key first
        return self._until_sent.enter_context(access_watch(scope).hold(key))


async def _until_sent(request: Request) -> AsyncIterator[AccessUntilSent]:
    with ExitStack() as until_sent:
        yield AccessUntilSent(request, until_sent)


LongLived = Annotated[AccessUntilSent, Depends(_until_sent)]
"""scope=request: what was begun ends when the last of the answer was sent, or the client is gone."""
