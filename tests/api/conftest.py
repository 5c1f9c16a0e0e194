"""The real app over a real Postgres and a real Redis, asked as a client asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from hsu_jobs import database, keys, queue, settings
from hsu_jobs.tables import Role


def _forget() -> None:
    for cached in (settings.settings, database.engine, queue.celery):
        cached.cache_clear()


@pytest.fixture
def http(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client without a key."""
    monkeypatch.setenv("HSU_DATABASE_URL", database_url)
    monkeypatch.setenv("HSU_REDIS_URL", redis_url)
    _forget()
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client
        queue.celery().close()
    _forget()


@pytest.fixture
def as_user(http: TestClient) -> Callable[[str, Role], TestClient]:
    """Make a client that holds a key of this user."""

    def client(user: str, role: Role = Role.MEMBER) -> TestClient:
        with database.transaction() as session:
            key = keys.create(session, user=user, role=role)
        return TestClient(http.app, headers={"Authorization": f"Bearer {key}"}, raise_server_exceptions=False)

    return client


@pytest.fixture
def ada(as_user: Callable[[str], TestClient]) -> TestClient:
    """A member's client."""
    return as_user("ada")
