"""A job on a fresh database, claimed or not, with settings fast enough for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from live_runners import runners
from psycopg import sql
from samples import DIGITS, ROOM
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from embedded.engines import Engines
from hsu_jobs import attempts, database, doorbell, lifecycle, queries, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.settings import Settings
from hsu_jobs.spec import parse
from hsu_jobs.tables import Job, User
from worker.devices import Devices
from worker.supervisor import Supervisor


def _forget() -> None:
    for cached in (settings.settings, database.engine, doorbell.celery):
        cached.cache_clear()


@pytest.fixture
def fast(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose clocks run in tenths of a second."""
    values = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "ARTIFACTS_DIR": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "HEARTBEAT": "0.2",
        "LEASE": "4",
        "POLL": "0.3",
        "SWEEP": "0.5",
        "FLUSH": "0.1",
        "SHUTDOWN": "20",
        "RETRY_AFTER": "0.1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"HSU_{name}", value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # several runners share this machine
    _forget()
    yield settings.settings()
    database.engine().dispose()
    _forget()


@pytest.fixture
def submit(fast: Settings) -> Callable[..., int]:
    """Queue a job; keywords change the sample spec that it is made of."""

    def submitted(of: dict[str, Any] = DIGITS, **change: Any) -> int:
        with database.transaction() as session:
            owner = session.execute(queries.user_by_name("ada")).scalar_one_or_none() or User(name="ada")
            session.add(owner)
            session.flush()
            return lifecycle.submit(session, parse(of | change), owner=owner).id

    return submitted


@pytest.fixture
def claim(submit: Callable[..., int], fast: Settings) -> Claim:
    """A running job's claim."""
    submit()
    with database.transaction() as session:
        claimed = attempts.claim(session, ROOM, fast)
    assert claimed is not None
    return claimed


@pytest.fixture
def job() -> Callable[[int], Job]:
    """A job as it is now, with its attempts."""

    def seen(job_id: int) -> Job:
        with Session(database.engine()) as session:
            return session.execute(queries.job_by_id(job_id)).scalar_one()

    return seen


@pytest.fixture
def closed(engines: Engines, database_url: str) -> Callable[[], AbstractContextManager[None]]:
    """A time in which the database is really away: it takes no connections and has ended those there were."""
    name = sql.Identifier(str(make_url(database_url).database))

    def administer(statement: LiteralString) -> None:
        address = make_url(engines.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(name, name.as_string().strip('"')))

    @contextmanager
    def shut() -> Iterator[None]:
        administer("ALTER DATABASE {} ALLOW_CONNECTIONS false")
        administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {1}")
        try:
            yield
        finally:
            administer("ALTER DATABASE {} ALLOW_CONNECTIONS true")

    return shut


@pytest.fixture
def supervisor(fast: Settings) -> Iterator[Supervisor]:
    started = Supervisor(fast, name="here", devices=Devices(["cpu:0"], slots_each=1))
    started.start()
    yield started
    started.stop()
    assert runners() == []


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    """Starts a supervisor with these devices, and stops it at the end, also of a test that fails."""
    started: list[Supervisor] = []

    def start(settings: Settings, *devices: str) -> Supervisor:
        started.append(Supervisor(settings, name="here", devices=Devices(devices or ["cpu:0"], slots_each=1)))
        started[-1].start()
        return started[-1]

    yield start
    for supervisor in started:
        if not supervisor.is_stopping:
            supervisor.stop()
