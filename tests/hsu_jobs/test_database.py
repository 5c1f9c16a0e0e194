"""Migrations and transactions, on a real Postgres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.orm import Session

from hsu_jobs import curves, database
from hsu_jobs.curves import compaction
from hsu_jobs.tables import Row, User


def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    with create_engine(database.with_driver(database_url)).connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": database.is_ours})
        assert compare_metadata(context, Row.metadata) == []
    connection.engine.dispose()


def test_an_empty_database_goes_to_head_and_back(database_url: str) -> None:
    engine = create_engine(database.with_driver(database_url))
    database.migrate(database_url, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    database.migrate(database_url)
    assert set(Row.metadata.tables) < set(inspect(engine).get_table_names())
    engine.dispose()


def test_curves_of_earlier_versions_are_brought_along(database_url: str) -> None:
    engine = create_engine(database.with_driver(database_url))
    database.migrate(database_url, "base")
    database.migrate(database_url, "0003")
    steps, times = np.array([3, 4, 8], "<i8"), np.array([1.0, 2.0, 3.0])
    by_step = np.array([[0.1, np.nan], [0.2, np.inf], [0.3, -1.0]])
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users (name) VALUES ('ada')"))
        job = "INSERT INTO jobs (owner_id, name, tags, spec, fingerprint, state, wanted) VALUES "
        connection.execute(text(job + "(1, 'old', '{}', '{}', '', 'succeeded', 'run')"))
        connection.execute(text("INSERT INTO curve_series VALUES (1, 0, NULL, 'loss'), (1, 1, 'fc', 'mhe_s2')"))
        block = text("INSERT INTO curve_blocks VALUES (1, 3, 8, '{1,0}', :steps, :times, :points)")
        connection.execute(block, {"steps": steps.tobytes(), "times": times.tobytes(), "points": by_step.tobytes()})
    database.migrate(database_url)
    with Session(engine) as session:
        loss, energy = curves.read(session, 1)
        assert compaction.compact(session, 1)
    assert (loss.measure, loss.steps.tolist(), loss.times.tolist()) == ("loss", [3, 4, 8], [1.0, 2.0, 3.0])
    assert loss.values.tobytes() == by_step[:, 1].tobytes()
    assert (energy.layer, energy.values.tolist()) == ("fc", [0.1, 0.2, 0.3])
    database.migrate(database_url, "base")  # with a block in it
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
        database.after_commit(own, lambda: tell("grace"))
        assert seen == []
    assert seen == ["grace"]


def test_nobody_is_told_of_what_never_was(session: Session) -> None:
    told: list[str] = []

    def fail() -> None:
        with database.transaction() as own:
            database.after_commit(own, lambda: told.append("of what never was"))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert told == []


@pytest.mark.parametrize("url", ["postgresql://h/d", "postgres://h/d", "postgresql+psycopg://h/d"])
def test_every_spelling_of_the_url_means_the_same_driver(url: str) -> None:
    assert str(database.with_driver(url)) == "postgresql+psycopg://h/d"


@pytest.mark.parametrize("opened", [database.transaction, database.reading])
def test_a_connection_that_comes_back_after_the_end_is_closed(session: Session, opened: Any) -> None:
    with opened() as late:
        held = late.connection().connection.dbapi_connection
        database.engine().dispose()
        assert not held.closed
    assert held.closed
    with opened() as again:
        assert again.execute(text("SELECT 1")).scalar_one() == 1
