"""Who is told that something happened, on a real Postgres and a real Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
from cutting import cut
from redis import Redis
from redis.client import PubSub
from sqlalchemy.orm import Session

from hsu_jobs import database, pubsub, settings


@pytest.fixture
def listener(redis_url: str, session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSub]:
    monkeypatch.setenv("HSU_REDIS_URL", redis_url)
    settings.settings.cache_clear()
    with Redis.from_url(redis_url) as redis, redis.pubsub() as heard:
        heard.subscribe(pubsub.channel(redis_url))
        assert heard.get_message(timeout=5)["type"] == "subscribe"
        yield heard


def heard(listener: PubSub) -> list[int] | None:
    message = listener.get_message(timeout=5)
    return None if message is None else sorted(pubsub.parse(message["data"]))


def test_what_a_transaction_does_is_told_once_for_each_job_when_it_is_committed(listener: PubSub) -> None:
    with database.transaction() as session:
        for job_id in (7, 8, 7):
            pubsub.notify(session, job_id)
        assert listener.get_message(timeout=0.2) is None
    assert heard(listener) == [7, 8]
    assert listener.get_message(timeout=0.2) is None


def test_what_is_not_committed_is_not_told(listener: PubSub) -> None:
    with suppress(ZeroDivisionError), database.transaction() as session:
        pubsub.notify(session, 7)
        raise ZeroDivisionError
    with database.transaction() as session:
        pubsub.notify(session, 8)
    assert heard(listener) == [8]


def test_a_redis_that_lost_its_connections_is_told_all_the_same(listener: PubSub, redis_url: str) -> None:
    for job_id in (7, 8):
        with database.transaction() as session:
            pubsub.notify(session, job_id)
        assert heard(listener) == [job_id]
        with Redis.from_url(redis_url) as redis:
            cut(redis, "normal")


def test_what_others_say_on_the_channel_rings_for_nothing(redis_url: str) -> None:
    assert pubsub.parse(b"12 \xff -3 x 14") == [12, 14]


def test_a_redis_that_is_away_costs_a_moment_once_and_is_then_left_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # An address for documentation (RFC 5737): whoever connects hears nothing, not even a refusal.
    monkeypatch.setenv("HSU_REDIS_URL", "redis://192.0.2.1:6379/0")
    settings.settings.cache_clear()
    monkeypatch.setattr(pubsub, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    assert pubsub._PATIENCE <= 0.3
    with caplog.at_level(logging.WARNING, logger="hsu_jobs.pubsub"):
        for job_id in range(20):
            with database.transaction() as own:
                pubsub.notify(own, job_id)
    assert len(caplog.records) == 1, "it was asked once of twenty times"
    assert "Redis does not answer" in caplog.text


def test_each_numbered_database_has_a_channel_of_its_own() -> None:
    urls = ["redis://h:6379/2", "redis://h", "unix:///tmp/r.sock?db=3"]
    assert [pubsub.channel(url) for url in urls] == ["hsu.news.2", "hsu.news.0", "hsu.news.3"]
