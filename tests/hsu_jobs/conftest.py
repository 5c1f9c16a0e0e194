"""A session on a fresh database, and someone to own jobs in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from samples import DIGITS
from sqlalchemy.orm import Session

from hsu_jobs import database, settings
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.tables import User


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
