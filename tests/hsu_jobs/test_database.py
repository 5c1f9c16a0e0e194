"""Migrations and transactions, on a real Postgres."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import Session

from hsu_jobs import database
from hsu_jobs.tables import Row, User


def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    with create_engine(database.with_driver(database_url)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Row.metadata) == []
    connection.engine.dispose()


def test_an_empty_database_goes_to_head_and_back(database_url: str) -> None:
    engine = create_engine(database.with_driver(database_url))
    database.migrate(database_url, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    database.migrate(database_url)
    assert set(Row.metadata.tables) < set(inspect(engine).get_table_names())
    engine.dispose()


def test_the_revisions_agree_after_a_migration(session: Session) -> None:
    found, needed = database.revisions(session)
    assert found == needed is not None


def test_a_transaction_that_fails_leaves_nothing(session: Session) -> None:
    def fail() -> None:
        with database.transaction() as own:
            own.add(User(name="nobody"))
            own.flush()
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert session.query(User).count() == 0


def test_others_are_told_after_the_commit_and_only_of_what_was_committed(session: Session) -> None:
    seen: list[str] = []

    def tell(name: str) -> None:
        with database.transaction() as other:
            seen.extend(user.name for user in other.query(User).filter_by(name=name))

    with database.transaction() as own:
        own.add(User(name="grace"))
        database.afterwards(own, lambda: tell("grace"))
        assert seen == []
    assert seen == ["grace"]


def test_nobody_is_told_of_what_never_was(session: Session) -> None:
    told: list[str] = []

    def fail() -> None:
        with database.transaction() as own:
            database.afterwards(own, lambda: told.append("of what never was"))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert told == []


@pytest.mark.parametrize("url", ["postgresql://h/d", "postgres://h/d", "postgresql+psycopg://h/d"])
def test_every_spelling_of_the_url_means_the_same_driver(url: str) -> None:
    assert str(database.with_driver(url)) == "postgresql+psycopg://h/d"
