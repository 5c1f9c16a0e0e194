"""The fixtures that all other tests stand on."""

from __future__ import annotations

import psycopg
import redis
from sqlalchemy import make_url


def _tables(url: str) -> set[str]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def test_each_test_finds_the_migrated_tables(database_url: str) -> None:
    assert "jobs" in _tables(database_url)


def test_what_one_test_drops_another_still_has(database_url: str) -> None:
    address = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
    assert _tables(database_url) == set()


def test_each_test_finds_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_what_one_test_wrote_another_does_not_see(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
