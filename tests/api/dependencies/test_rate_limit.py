"""How often one may ask: a bucket a key, one an address, both in Redis, and none when Redis is away."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from samples import DIGITS
from waiting import until

from hsu_jobs import database, settings
from hsu_jobs.access import rate_limits
from hsu_jobs.access.rate_limits import Bucket
from hsu_jobs.tables import AuditRow, Role

Set = Callable[..., None]
PATIENCE = rate_limits._PATIENCE


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch, http: TestClient) -> Set:
    """Change settings of the running app."""

    def changed(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"HSU_{name.upper()}", value)
        settings.settings.cache_clear()
        rate_limits.close()

    monkeypatch.setattr(rate_limits, "_PATIENCE", 60.0)  # a busy machine may need more than the tenth of a second
    return changed


def test_a_key_that_asks_too_often_is_told_how_long_to_wait(ada: TestClient, set_to: Set) -> None:
    set_to(rate_limit="0.01", rate_burst="3")
    answers = [ada.get("/v1/catalog") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=3;w=300'}
    refused = answers[-1]
    assert refused.json()["code"] == "too_many_requests"
    assert 90 <= int(refused.headers["retry-after"]) <= 100


def test_the_bucket_fills_again(ada: TestClient, set_to: Set, redis_url: str) -> None:
    set_to(rate_limit="0.01", rate_burst="1")
    assert [ada.get("/v1/catalog").status_code for _ in range(2)] == [200, 429]
    with Redis.from_url(redis_url) as redis:
        (bucket,) = redis.keys("hsu:rate:*")
        redis.incrby(bucket, -98_000_000)  # the microsecond at which it is full: 98 of its 100 seconds have passed
    until(lambda: ada.get("/v1/catalog").status_code == 200)


def test_each_key_has_its_own_bucket(as_user: Callable[..., TestClient], set_to: Set) -> None:
    set_to(rate_limit="0.01", rate_burst="1")
    mine, anothers = as_user("ada"), as_user("ada", Role.VIEWER)
    assert [mine.get("/v1/catalog").status_code for _ in range(2)] == [200, 429]
    assert anothers.get("/v1/catalog").status_code == 200


def test_what_is_refused_for_that_changes_nothing_and_leaves_no_line(ada: TestClient, set_to: Set) -> None:
    set_to(rate_limit="0.01", rate_burst="1")
    assert [ada.post("/v1/jobs", json=DIGITS).status_code for _ in range(2)] == [201, 429]
    with database.transaction() as session:
        assert session.query(AuditRow).count() == 1


def test_an_address_may_fail_so_often_and_valid_keys_still_pass(http: TestClient, ada: TestClient, set_to: Set) -> None:
    set_to(failures_a_minute="2")
    wrong = {"Authorization": "Bearer hsu_0_0"}
    assert [http.get("/v1/jobs", headers=headers).status_code for headers in (wrong, {}, wrong)] == [401, 401, 429]
    assert ada.get("/v1/jobs").status_code == 200


def test_without_limits_nothing_is_counted(ada: TestClient, set_to: Set, redis_url: str) -> None:
    set_to(rate_limit="0", failures_a_minute="0")
    assert "ratelimit" not in ada.get("/v1/catalog").headers
    with Redis.from_url(redis_url) as redis:
        assert redis.keys("hsu:rate:*") == []


def test_a_full_bucket_takes_no_room(ada: TestClient, set_to: Set, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        set_to(rate_limit="0.01", rate_burst="5")
        ada.get("/v1/catalog")
        (bucket,) = redis.keys("hsu:rate:*")
        assert 0 < redis.pttl(bucket) <= 100_000, "it is gone as soon as it is full again"
        redis.delete(bucket)
        set_to(rate_limit="0.5", rate_burst="5")
        ada.get("/v1/catalog")
        until(lambda: redis.keys("hsu:rate:*") == [])


def test_redis_may_refuse_and_everything_passes(ada: TestClient, set_to: Set) -> None:
    set_to(redis_url="redis://127.0.0.1:1/0", rate_limit="0.01", rate_burst="1")
    assert [ada.get("/v1/catalog").status_code for _ in range(3)] == [200] * 3


def test_redis_may_be_silent_and_costs_a_tenth_of_a_second_now_and_then(
    ada: TestClient, set_to: Set, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (PATIENCE, rate_limits._REST) == (0.1, 2.0)
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(rate_limits, "_PATIENCE", PATIENCE)
    with socket.create_server(("127.0.0.1", 0)) as silent, caplog.at_level(logging.WARNING, rate_limits.__name__):
        set_to(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0", rate_limit="0.01", rate_burst="1")
        assert [rate_limits.take("it", Bucket(1, 1)) for _ in range(1000)] == [None] * 1000
        assert caplog.text.count("Redis does not answer") == 1, "it is asked once, and then left alone"
        clock.now += rate_limits._REST
        assert rate_limits.take("it", Bucket(1, 1)) is None
        assert caplog.text.count("Redis does not answer") == 2
        assert ada.get("/v1/catalog").status_code == 200
