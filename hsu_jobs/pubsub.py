"""How do other processes learn that a job changed? By a message in Redis, sent after the commit.

Knows one channel, which carries ids of jobs. A message is only a hint: every listener also looks by itself, so a Redis
that is emptied, restarted or away costs time and nothing else.
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
"""Seconds for which a Redis that did not answer is not asked again: writers must not wait for it often."""
_PATIENCE = 0.3
"""Seconds to connect, and again to be answered."""
_CHANGED = "changed_jobs"

_log = logging.getLogger(__name__)


def notify(session: Session, job_id: int) -> None:
    """Publish the job's id when this transaction is committed; once, however much it wrote of the job."""
    changed = session.info.setdefault(_CHANGED, set())
    if not changed:
        database.after_commit(session, partial(_publish, changed))
    changed.add(job_id)


def channel(url: str) -> str:
    """The channel's name. It holds the number of the database, since channels do not belong to one."""
    parts = parse_url(url)  # type: ignore[no-untyped-call]
    return f"hsu.news.{parts.get('db', 0)}"


def parse(message: bytes) -> list[int]:
    """The ids of jobs in a message; a message of another sender holds none."""
    return [int(word) for word in message.split() if word.isdigit()]


def _publish(job_ids: Iterable[int]) -> None:
    _publisher(settings().redis_url.get_secret_value()).publish(job_ids)


class _Publisher:
    """A process's connection to Redis; unused for a while after Redis did not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        self._channel = channel(url)
        self._lock = threading.Lock()
        self._next = 0.0

    def publish(self, job_ids: Iterable[int]) -> None:
        """Publish the ids; log a warning if Redis does not answer."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            try:
                self._redis.publish(self._channel, " ".join(map(str, job_ids)))
            except RedisError as error:
                self._next = time.monotonic() + LEFT_ALONE
                _log.warning("Redis does not answer (%s); waiting requests look by themselves", error)


_publisher = cache(_Publisher)
