"""Who is told that something happened to a job? Whoever listens in Redis, once it is committed.

Knows one channel, which carries ids of jobs. A message is only a doorbell: who waits for news also looks by itself, so
a Redis that is emptied, restarted or away costs time and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from functools import cache, partial

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.orm import Session

from hsu_jobs import database
from hsu_jobs.settings import settings

LEFT_ALONE = 10.0
"""Seconds for which a Redis that did not answer is not asked again: nobody who writes may wait for it often."""
_PATIENCE = 0.3
"""Seconds to connect, and again to be answered."""
_TOLD = "news"

_log = logging.getLogger(__name__)


def notify(session: Session, job_id: int) -> None:
    """Ring for a job when this transaction is committed; once, however much it wrote of it."""
    told = session.info.setdefault(_TOLD, set())
    if not told:
        database.after_commit(session, partial(_publish, told))
    told.add(job_id)


def channel(url: str) -> str:
    """Where it rings: Redis' channels know no numbered databases, so the name holds the number."""
    told = parse_url(url)  # type: ignore[no-untyped-call]
    return f"hsu.news.{told.get('db', 0)}"


def parse(message: bytes) -> list[int]:
    """The jobs that a message rings for; what is none of ours rings for nothing."""
    return [int(word) for word in message.split() if word.isdigit()]


def _publish(job_ids: Iterable[int]) -> None:
    _publisher(settings().redis_url.get_secret_value()).publish(job_ids)


class _Publisher:
    """A process's connection to Redis, left alone for a while after it did not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._channel = channel(url)
        self._lock = threading.Lock()
        self._next = 0.0

    def publish(self, job_ids: Iterable[int]) -> None:
        """Tell whoever listens; a word in the log if it cannot be told."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            try:
                self._redis.publish(self._channel, " ".join(map(str, job_ids)))
            except RedisError as error:
                self._next = time.monotonic() + LEFT_ALONE
                _log.warning("Redis does not answer (%s); those who wait for news look for themselves", error)


_publisher = cache(_Publisher)
