"""A session on a fresh database, someone to own jobs in it, and a clock that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from attempt_records import points, saved
from samples import DIGITS, ROOM
from sqlalchemy import text, update
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.tables import Attempt, Job, User, Worker

Submit = Callable[..., Job]
"""Submits the digits for a user, with these fields of the spec changed; a batch of 12 fits many numbers of GPUs."""
Later = Callable[[float], None]
"""Lets seconds pass: a transaction's clock stands still, so everything that was is moved into the past."""


@pytest.fixture
def session(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("HSU_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    database.engine.cache_clear()
    with database.transaction() as session:
        yield session
        session.rollback()
    database.engine().dispose()
    settings.settings.cache_clear()
    database.engine.cache_clear()


@pytest.fixture
def owner(session: Session) -> User:
    user = User(name="ada")
    session.add(user)
    session.flush()
    return user


@pytest.fixture
def spec() -> JobSpec:
    return parse(DIGITS)


@pytest.fixture
def submit(session: Session) -> Submit:
    def submitted(owner: User, **fields: Any) -> Job:
        return lifecycle.submit(session, parse(DIGITS | {"batch_size": 12} | fields), owner=owner)

    return submitted


@pytest.fixture
def claimed(session: Session) -> Callable[[], Claim]:
    """Starts the job that is next."""

    def started() -> Claim:
        session.flush()
        found = attempts.claim(session, ROOM, settings.settings())
        assert found is not None
        session.expire_all()
        return found

    return started


@pytest.fixture
def begun(session: Session, owner: User, submit: Submit, claimed: Callable[[], Claim]) -> Claim:
    """A live attempt that has measured and saved something."""
    submit(owner)
    claim = claimed()
    attempts.begin(session, claim.token, None)
    attempts.progress(session, claim.token, step=20, points=points(0, 10, 20), saved=[saved(10), saved(20)])
    session.flush()
    return claim


@pytest.fixture
def is_anybody_waiting(session: Session) -> Iterator[Callable[[], bool]]:
    """Tells whether a transaction in this database waits for another."""
    waiting = text(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    # What is seen of others stands still within a transaction.
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
        yield lambda: watcher.execute(waiting).scalar_one()


@pytest.fixture
def later(session: Session) -> Later:
    def moved(seconds: float) -> None:
        session.flush()
        past = timedelta(seconds=seconds)
        for table, columns in (
            (User, ("usage_at",)),
            (Job, ("runnable_at", "deadline_at", "created_at")),
            (Attempt, ("started_at", "progress_at", "lease_expires_at")),
            (Worker, ("seen_at",)),
        ):
            earlier = {name: getattr(table, name) - past for name in columns}
            session.execute(update(table).values(earlier).execution_options(synchronize_session=False))
        session.expire_all()

    return moved
