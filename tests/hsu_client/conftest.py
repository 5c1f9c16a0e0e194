"""A real API over a real database and a real Redis, without a worker: a job stays queued until it is cancelled."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import NamedTuple

import httpx2
import pytest
from samples import DIGITS, ROOM
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import Session

from hsu_client.client import Client
from hsu_client.problem import Problem
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


@pytest.fixture(scope="session")
def served(new_redis: New, new_database: New) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port)]
    with new_database() as database_url, new_redis() as redis_url:
        environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
        keys = [_new_key(user, role, environment) for user, role in (("ada", "member"), ("root", "admin"))]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as api:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url)
            yield Served(url, *keys, database_url)
            api.terminate()


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


def _new_key(user: str, role: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", user, "--role", role]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not get ready")
