"""A database that takes no writes for a while, as in a failover."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def read_only(database_url: str) -> Iterator[None]:
    """Real Postgres answers every write with SQLSTATE 25006 while the `with` lasts, on open connections too."""
    _configure(database_url, "ALTER DATABASE {} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        _configure(database_url, "ALTER DATABASE {} RESET default_transaction_read_only")


def _configure(database_url: str, statement: LiteralString) -> None:
    url = make_url(database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(sql.SQL(statement).format(sql.Identifier(str(url.database))))
        # A setting of a database counts for new connections: those there are end, as in a failover.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
