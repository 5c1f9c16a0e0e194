"""A real server process, and this process beside it on the same database and Redis, as a worker is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx2
import pytest
from redis import Redis
from serving import AsUser, Serving, serving, submit
from waiting import until

from hsu_jobs import database, pubsub, settings
from hsu_jobs.access import keys
from hsu_jobs.tables import Role

New = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def urls(new_database: New, new_redis: New) -> Iterator[tuple[str, str]]:
    with new_database() as database_url, new_redis() as redis_url:
        yield database_url, redis_url


@pytest.fixture(scope="session")
def server(urls: tuple[str, str]) -> Iterator[Serving]:
    with serving(*urls) as server:
        yield server


@pytest.fixture(autouse=True)
def _same_engines(urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, url in zip(("HSU_DATABASE_URL", "HSU_REDIS_URL"), urls, strict=True):
        monkeypatch.setenv(name, url)
    settings.settings.cache_clear()
    database.engine.cache_clear()
    yield
    database.engine().dispose()
    settings.settings.cache_clear()
    database.engine.cache_clear()


@pytest.fixture
def as_user() -> AsUser:
    @contextmanager
    def client(server: Serving, name: str) -> Iterator[httpx2.Client]:
        with database.transaction() as session:
            key = keys.create(session, user=name, role=Role.MEMBER)
        many, mine = httpx2.Limits(max_connections=None), {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=server.url, headers=mine, timeout=60, limits=many) as client:
            yield client

    return client


@pytest.fixture
def ada(server: Serving, as_user: AsUser) -> Iterator[httpx2.Client]:
    with as_user(server, "ada") as client:
        yield client


@pytest.fixture
def ada_rung_only(urls: tuple[str, str], as_user: AsUser) -> Iterator[httpx2.Client]:
    """A client of a server whose streams never look by themselves: what they tell, Redis has told them."""
    with Redis.from_url(urls[1]) as redis:

        def listeners() -> int:
            ((_, count),) = redis.pubsub_numsub(pubsub.channel(urls[1]))
            return int(count)

        before = listeners()
        with serving(*urls, looks_by_itself=False) as server, as_user(server, "ada") as client:
            until(lambda: listeners() > before)
            yield client


@pytest.fixture
def job(ada: httpx2.Client) -> int:
    return submit()
