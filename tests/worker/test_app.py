"""The two tasks, called as Celery calls them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from redis import Redis

from hsu_jobs import queue


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The sweep, of an app that reads this test's settings."""
    from worker import app

    monkeypatch.setattr(app, "app", queue.celery())
    return app.sweep


def test_the_sweep_rings_for_every_job_that_waits(
    submit: Callable[..., int], tasks: Callable[[], None], redis_url: str
) -> None:
    waiting = {submit(), submit()}
    tasks()
    queue.celery().close()
    with Redis.from_url(redis_url) as redis:
        messages = [json.loads(message) for message in redis.lrange("hsu", 0, -1)]
    assert {message["headers"]["task"] for message in messages} == {queue.RING}
    assert {message["headers"]["argsrepr"] for message in messages} == {f"({job},)" for job in waiting}
