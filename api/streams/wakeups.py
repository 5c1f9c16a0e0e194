"""What wakes the streams and long polls that wait for changes of a job? One Redis listener a process.

Knows the channel in Redis, and one `Subscription` a job. Nothing depends on a message: a waiting request also looks
every `LOOK` seconds. Requests at the same position share one read of the database. Nothing is stored for a client: a
slow stream is at an earlier position, and reads on from there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Annotated, Any, TypeVar
from weakref import WeakValueDictionary

from fastapi import Depends, Request
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from hsu_jobs import pubsub
from hsu_jobs.settings import settings

LOOK = 2.0
"""Seconds after which a waiting request looks, even without a message."""
READERS = 8
"""Reads for streams at the same time, however many streams there are: threads and connections are for requests too."""
_AGAIN = 1.0
"""Seconds until a Redis that is away is tried again."""
_HEALTH = 10.0
"""Seconds of silence after which the subscription is tried."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Subscription:
    """The next change of a job: woken once, then replaced by a new one."""

    def __init__(self, readers: asyncio.Semaphore) -> None:
        self.is_woken = asyncio.Event()
        self._readers = readers
        self._found: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, position: Hashable, look: Callable[[], _T]) -> _T:
        """What `look` finds, in a thread; once for all requests at the same position."""
        if position not in self._found:
            self._found[position] = asyncio.create_task(self._read(look))
        found: _T = await asyncio.shield(
            self._found[position]
        )  # other requests still need it when this one is cancelled
        return found

    async def _read(self, look: Callable[[], _T]) -> _T:
        async with self._readers:
            return await run_in_threadpool(look)


class Wakeups:
    """The subscriptions of one process; each exists as long as a request waits for it."""

    def __init__(self) -> None:
        self._subscriptions: WeakValueDictionary[int, Subscription] = WeakValueDictionary()
        self._readers = asyncio.Semaphore(READERS)
        self._is_closing = False

    async def changes(self, job_id: int, *, seconds: float = math.inf) -> AsyncIterator[Subscription]:
        """Yield whenever the job is worth a look: at once, after a change, every `LOOK` seconds, and at the end.

        Ends early when the server does.
        """
        until = time.monotonic() + seconds
        while True:
            subscription = self._subscriptions.setdefault(
                job_id, Subscription(self._readers)
            )  # taken before the look, so that no change is missed
            yield subscription
            left = until - time.monotonic()
            if left <= 0 or self._is_closing:
                return
            await self._wait(job_id, subscription, min(LOOK, left))

    def wake(self, job_id: int) -> None:
        """Wake the requests that wait for this job."""
        if subscription := self._subscriptions.pop(job_id, None):
            subscription.is_woken.set()

    def close(self) -> None:
        """End every wait."""
        self._is_closing = True
        self._wake_all()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen to Redis while the `with` lasts."""
        listener = asyncio.create_task(self._listen(settings().redis_url.get_secret_value()))
        with _call_on_signal(self.close):
            yield
        self.close()
        while not listener.done():  # the Redis client may lose a cancellation while it connects
            listener.cancel()
            await asyncio.wait([listener], timeout=0.1)

    async def _wait(self, job_id: int, subscription: Subscription, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await subscription.is_woken.wait()
                return
        if self._subscriptions.get(job_id) is subscription:
            self.wake(job_id)  # the first that looks again reads for all

    async def _listen(self, url: str) -> None:
        is_away = False
        while True:
            try:
                async for job_id in _notifications(url):
                    is_away = False
                    if job_id is None:
                        self._wake_all()
                    else:
                        self.wake(job_id)
            except (RedisError, OSError) as error:
                if not is_away:
                    _log.warning("Redis does not answer (%s); streams look every %g s", error, LOOK)
                is_away = True
            except Exception:
                _log.exception("a message from Redis could not be read; streams look every %g s", LOOK)
            await asyncio.sleep(_AGAIN)

    def _wake_all(self) -> None:
        for job_id in list(self._subscriptions):
            self.wake(job_id)


def _live(request: Request) -> Wakeups:
    wakeups: Wakeups = request.app.state.wakeups
    return wakeups


LiveWakeups = Annotated[Wakeups, Depends(_live)]
"""The wakeups of this process."""


async def _notifications(url: str) -> AsyncIterator[int | None]:
    """The ids of changed jobs; None where messages may have been missed."""
    redis = Redis.from_url(url, socket_connect_timeout=2, health_check_interval=_HEALTH, retry=Retry(NoBackoff(), 0))
    async with redis, redis.pubsub() as subscription:
        await subscription.subscribe(pubsub.channel(url))
        yield None
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=_HEALTH)
            for job_id in pubsub.parse(message["data"]) if message else ():
                yield job_id


@contextmanager
def _call_on_signal(call: Callable[[], None]) -> Iterator[None]:
    """Call back at SIGINT and SIGTERM: the server stops the app after all connections end, and streams do not end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    heard = [number for number, handler in handlers.items() if callable(handler)]
    for number in heard:
        signal.signal(number, hear)
    yield
    for number in heard:
        signal.signal(number, handlers[number])
