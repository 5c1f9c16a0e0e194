"""A real API over a real database and a real Redis, without a worker: a job stays queued until it is cancelled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from samples import DIGITS, ROOM
from serving import serving
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import Session
from stored_checkpoints import stored

from hsu_client.client import Client
from hsu_client.problem import Problem
from hsu_core.outcomes import Saved
from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.errors import LeaseLost
from hsu_jobs.outcomes import Released
from hsu_jobs.settings import Settings

New = Callable[[], AbstractContextManager[str]]


class Served(NamedTuple):
    """A running API."""

    url: str
    key: str
    """A member's."""
    admin_key: str
    database_url: str
    redis_url: str
    artifacts: Path
    """Where the storage of checkpoints is."""


@pytest.fixture(scope="session")
def served(new_redis: New, new_database: New, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    artifacts = tmp_path_factory.mktemp("artifacts")
    with new_database() as database_url, new_redis() as redis_url:
        environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
        keys = [_new_key(user, role, environment) for user, role in (("ada", "member"), ("root", "admin"))]
        with serving(database_url, redis_url, HSU_ARTIFACTS_DIR=str(artifacts)) as api:
            yield Served(api.url, *keys, database_url, redis_url, artifacts)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.key) as client:
        yield client


@pytest.fixture
def session(served: Served) -> Iterator[Session]:
    """The service's own database: each statement counts at once."""
    engine = create_engine(served.database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, Session(connection, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def claim(client: Client, session: Session) -> Iterator[Claim]:
    """A running attempt at a fresh job."""
    for other in client.jobs(state="queued"):
        client.cancel(other["id"])
    submitted = client.submit(DIGITS)
    started = attempts.claim(session, ROOM, Settings())
    assert started is not None
    assert started.job_id == submitted["id"]
    yield started
    with suppress(LeaseLost):
        attempts.settle(session, started.token, Released(), Settings())
        session.flush()
    with suppress(Problem):
        client.cancel(started.job_id)


@pytest.fixture
def saved(served: Served, session: Session, claim: Claim) -> list[Saved]:
    """The real checkpoints of the running job."""
    states = stored(session, claim, Settings(artifacts_dir=served.artifacts))
    session.flush()
    return states


def _new_key(user: str, role: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", user, "--role", role]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
