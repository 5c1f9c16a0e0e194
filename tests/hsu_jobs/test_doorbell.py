"""The doorbell, on a real Redis."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from redis import Redis
from waiting import until

from hsu_jobs import doorbell, settings


@pytest.fixture(autouse=True)
def _own_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", redis_url)
    settings.settings.cache_clear()
    doorbell.celery.cache_clear()


def test_a_ring_is_one_small_json_message(redis_url: str) -> None:
    doorbell.ring(42)
    with Redis.from_url(redis_url) as redis:
        (raw,) = redis.lrange("hsu", 0, -1)
    message = json.loads(raw)
    assert message["headers"]["task"] == doorbell.RING
    assert message["headers"]["argsrepr"] == "(42,)"
    doorbell.celery().close()


def test_a_ring_that_nobody_hears_is_a_warning_not_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", "redis://127.0.0.1:1/0")
    settings.settings.cache_clear()
    doorbell.celery.cache_clear()
    with caplog.at_level(logging.WARNING, logger="hsu_jobs.doorbell"):
        doorbell.ring(42)
    assert "job 42 waits, but Redis does not take it" in caplog.text
    assert not doorbell.answers()


def test_the_bell_rings_at_once_and_then_once_for_many(redis_url: str) -> None:
    bell = doorbell.Doorbell(rest=timedelta(seconds=60))
    with Redis.from_url(redis_url) as redis:
        bell.ring(1)
        until(lambda: redis.llen("hsu") == 1)
        for job_id in range(2, 100):
            bell.ring(job_id)
        bell.close()
        rung = [json.loads(raw)["headers"]["argsrepr"] for raw in redis.lrange("hsu", 0, -1)]
    assert rung == ["(99,)", "(1,)"]
    doorbell.celery().close()


def test_a_bell_that_nobody_rang_closes() -> None:
    doorbell.Doorbell().close()


def test_redis_that_is_there_answers() -> None:
    assert doorbell.answers()


@pytest.mark.parametrize(
    ("redis", "celery"),
    [
        ("redis://h:6379/2", "redis://h:6379/2"),
        ("unix:///tmp/r.sock?db=3", "redis+socket:///tmp/r.sock?virtual_host=3"),
        ("unix:///tmp/r.sock", "redis+socket:///tmp/r.sock"),
    ],
)
def test_celery_calls_a_unix_socket_otherwise(redis: str, celery: str) -> None:
    assert doorbell.broker_url(redis) == celery
