"""The real app over a real Postgres and a real Redis, asked as a client asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, ROOM
from sqlalchemy import func, update

from api.app import create_app
from hsu_core.outcomes import Saved
from hsu_jobs import attempts, database, doorbell, settings
from hsu_jobs.access import keys
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import Attempt, Role


def _forget() -> None:
    for cached in (settings.settings, database.engine, doorbell.celery, doorbell.shared):
        cached.cache_clear()


@pytest.fixture
def http(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client without a key."""
    monkeypatch.setenv("HSU_DATABASE_URL", database_url)
    monkeypatch.setenv("HSU_REDIS_URL", redis_url)
    _forget()
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client
        doorbell.celery().close()
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


@pytest.fixture
def root(as_user: Callable[..., TestClient]) -> TestClient:
    """An admin's client."""
    return as_user("root", Role.ADMIN)


@pytest.fixture
def submit() -> Callable[..., dict[str, Any]]:
    """Queue a job as this client."""

    def submitted(client: TestClient, **change: Any) -> dict[str, Any]:
        answer = client.post("/v1/jobs", json=DIGITS | change)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return submitted


@pytest.fixture
def start(http: TestClient) -> Callable[[], Claim]:
    """Begin an attempt at the job that is next, as a worker does."""

    def started() -> Claim:
        with database.transaction() as session:
            claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
        return claim

    return started


@pytest.fixture
def save(http: TestClient) -> Callable[..., None]:
    """Note a checkpoint of an attempt at a step, as a runner does."""

    def saved(claim: Claim, step: int, *, metric: float | None = None) -> None:
        state = Saved(step, Path("unused"), "ab" * 32, 1000 + step, metric, is_best=metric is not None)
        with database.transaction() as session:
            attempts.progress(session, claim.token, step=step, saved=[(state, f"{claim.job_id}/{step}")])

    return saved


@pytest.fixture
def lose(http: TestClient) -> Callable[[], list[int]]:
    """Let every lease run out, and sweep as a worker does."""

    def lost() -> list[int]:
        with database.transaction() as session:
            session.execute(update(Attempt).values(lease_expires_at=func.now() - func.make_interval(0, 0, 0, 0, 1)))
        with database.transaction() as session:
            return attempts.expire(session, settings.settings())

    return lost
