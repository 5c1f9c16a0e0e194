"""How does each test get an empty database of its own, quickly? One is emptied and renamed after each test.

To empty a copy of the migrated template is much faster than to copy it. A database is dropped and copied anew if a
test changed its tables, triggers or settings, or left it large. A test that looks at plans or at rows read has the mark
`new_database`. Between two tests the database takes no connections: what an earlier test left running cannot come back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from hsu_jobs.tables.base import Row

Administer = Callable[..., None]
"""Runs a statement with names, outside of the database."""
_GROWTH = 8 << 20
"""Bytes that rows which are deleted, and not yet vacuumed, may take: more makes later tests slow."""
_KEPT = "installation"
"""Has one row, the same in each copy."""
_LOOK = """
SELECT (SELECT json_agg(json_build_array(oid, relname, relnatts, relkind) ORDER BY oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace)::text,
       (SELECT json_agg(json_build_array(attrelid, attname, atttypid, attnotnull) ORDER BY attrelid, attnum)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace)::text,
       (SELECT json_agg(json_build_array(tgname, tgenabled) ORDER BY pg_trigger.oid) FROM pg_trigger)::text,
       (SELECT json_agg(setconfig) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database())::text
"""
"""What a test must leave as it was."""
_CUT_OFF = """
SELECT count(pg_terminate_backend(pid, 100)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""Returns how many there were."""


class ReusedDatabase:
    """The database of one process, for one test after the other; each time under a name of its own."""

    def __init__(self, administer: Administer, url: Callable[[str], str], create: Callable[[], str]) -> None:
        self._administer = administer
        self._url = url
        self._create = create
        self._name: str | None = None
        self._first_name = ""
        self._numbers = itertools.count()
        self._look: Any = None
        self._size = 0
        self._installation: list[tuple[Any, ...]] = []

    @contextmanager
    def emptied(self) -> Iterator[str]:
        """An empty database; its URL is good inside the `with`. What still uses it afterwards is cut off."""
        name = self._renamed() if self._name else self._copied()
        yield self._url(name)
        try:
            is_as_before = self._empty(name)
        except psycopg.Error:
            is_as_before = False
        if not is_as_before:
            self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        self._name = name if is_as_before else None

    def close(self) -> None:
        """Drop it."""
        if self._name:
            self._administer("DROP DATABASE {} WITH (FORCE)", self._name)

    def _copied(self) -> str:
        name = self._first_name = self._create()
        with self._connected(name) as connection:
            self._look = connection.execute(_LOOK).fetchone()
            self._size = _size(connection)
            self._installation = connection.execute(f"SELECT * FROM {_KEPT}").fetchall()
        return name

    def _renamed(self) -> str:
        """Under a new name, so that a thread of an earlier test that is still there cannot write into this one's."""
        name = f"{self._first_name}_{next(self._numbers)}"
        self._administer("ALTER DATABASE {} RENAME TO {}", self._name, name)
        self._administer("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        return name

    def _empty(self, name: str) -> bool:
        """Cut off who still uses it, and delete every row; whether it then is as a new copy."""
        tables = [table.name for table in reversed(Row.metadata.sorted_tables)]
        with self._connected(name) as connection:
            self._administer("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)  # Postgres refuses it from inside
            _cut_off(connection)
            if connection.execute(_LOOK).fetchone() != self._look or _size(connection) > self._size + _GROWTH:
                return False
            for table in tables:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            for row in self._installation:
                places = sql.SQL(", ").join(sql.Placeholder() * len(row))
                connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier(_KEPT), places), row)
            connection.execute("SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence")
        return True

    @contextmanager
    def _connected(self, name: str) -> Iterator[psycopg.Connection]:
        address = make_url(self._url(name)).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection


def _size(connection: psycopg.Connection) -> int:
    (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,)
    return int(size)


def _cut_off(connection: psycopg.Connection) -> None:
    """End every other connection to this database; no new one can begin."""
    while connection.execute(_CUT_OFF).fetchone() != (0,):
        pass
