"""How do workers learn that there is work? A Celery message is only a doorbell: losing or doubling one is harmless.

Knows the broker's settings, once for senders and receivers. The queue of record is the database.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

from hsu_jobs.settings import settings

RING = "hsu.ring"
SWEEP = "hsu.sweep"
CARRY = "hsu.carry"
POST = "hsu.post"
REST = 2.0
"""Seconds for which a Redis that did not take a message is not asked again: senders must not wait for it often."""

_log = logging.getLogger(__name__)


@cache
def celery() -> Celery:
    """The process's Celery app. Every task is short and carries at most a job's id."""
    app = Celery("hsu", broker=broker_url(settings().redis_url.get_secret_value()))
    app.conf.update(
        accept_content=["json"],
        broker_channel_error_retry=True,  # a Redis that refuses (READONLY, MISCONF, OOM, …) is tried again
        broker_connection_max_retries=None,  # and one that is away, for ever: the default gives up after 47 minutes
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=2,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "visibility_timeout": settings().redis_visibility.total_seconds(),
        },
        task_acks_late=False,  # an unacknowledged message would come back after visibility_timeout
        task_default_queue="hsu",
        task_ignore_result=True,
        task_serializer="json",
        task_store_errors_even_if_ignored=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_pool="threads",  # tasks only wake the supervisor, which lives in the same process
        worker_prefetch_multiplier=1,
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": settings().sweep,
                "options": {"expires": settings().sweep.total_seconds()},
            },
            "post": {
                "task": POST,
                "schedule": settings().poll,
                "options": {"expires": settings().poll.total_seconds()},
            },
        },
    )
    return app


class Doorbell:
    """Sends messages in a thread, so that no caller waits, and one message for many calls.

    The first call sends at once; those within the next `rest` share one message.
    """

    def __init__(self, rest: timedelta = timedelta(milliseconds=50)) -> None:
        self._rest = rest.total_seconds()
        self._changed = threading.Condition()
        self._waits: int | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def ring(self, job_id: int) -> None:
        """Send a message soon, because a job waits."""
        with self._changed:
            self._waits = job_id
            if self._thread is None:
                self._thread = threading.Thread(target=self._ring_on, name="doorbell", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Send what is pending, then stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _ring_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waits is not None or self._is_closed)
                job_id, self._waits = self._waits, None
            if job_id is None:
                return
            ring(job_id)
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, timeout=self._rest)


@cache
def shared() -> Doorbell:
    """The doorbell of this process."""
    return Doorbell()


def ring(job_id: int) -> bool:
    """Notify the workers that a job waits; returns whether Redis took the message. The sweep sends it again."""
    return _send(RING, job_id, f"job {job_id} waits")


def ring_for_webhook(webhook_id: int) -> bool:
    """Notify the workers that a webhook has messages; returns whether Redis took this one. The sweep sends it again."""
    return _send(CARRY, webhook_id, f"webhook {webhook_id} has messages")


def ring_for_dataset(dataset_id: int) -> bool:
    """Notify the workers that an upload is complete; returns whether Redis took this one. They look anyway."""
    return _send(CARRY, dataset_id, f"data set {dataset_id} is complete")


def _send(task: str, id: int, why: str) -> bool:  # noqa: A002
    """Send a message; returns whether Redis took it. If not, Redis is not asked again for `REST`."""
    app = celery()
    rest = _rest(app)
    if time.monotonic() < rest.until:
        return False
    try:
        app.send_task(task, args=(id,), retry=False)
    except Exception as error:  # whatever Redis answers and Celery makes of it: no sender may end with it
        rest.until = time.monotonic() + REST
        _log.warning("%s, but Redis does not take it (%s); the next sweep will ring", why, error)
        return False
    return True


@dataclass
class _Rest:
    """Until when Redis is not asked, on the monotonic clock."""

    until: float = 0.0


@cache
def _rest(_of: Celery) -> _Rest:
    return _Rest()


def answers() -> bool:
    """Whether Redis answers."""
    try:
        with Redis.from_url(
            settings().redis_url.get_secret_value(), socket_connect_timeout=2, socket_timeout=2
        ) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def broker_url(redis_url: str) -> str:
    """Redis' URL as Celery writes it: a unix socket has another scheme there, and another name for the database."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return "redis+socket://" + redis_url.removeprefix("unix://").replace("?db=", "?virtual_host=")
