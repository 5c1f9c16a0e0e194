"""The tests' own database: emptied and used again, since a copy for each test would make the suite twice as long."""

from __future__ import annotations

import psycopg
from reused_database import ReusedDatabase
from sqlalchemy import make_url


def test_the_next_test_gets_the_same_database_empty_and_under_another_name(reused_database: ReusedDatabase) -> None:
    with reused_database.emptied() as url, _connected(url) as connection:
        connection.execute("INSERT INTO users (name) VALUES ('ada')")
        before = connection.execute(_WHICH).fetchone()
    with reused_database.emptied() as url, _connected(url) as connection:
        after = connection.execute(_WHICH).fetchone()
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    assert before is not None
    assert after is not None
    assert (before[0], before[1] != after[1]) == (after[0], True)


_WHICH = "SELECT oid, datname FROM pg_database WHERE datname = current_database()"


def _connected(url: str) -> psycopg.Connection:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)
