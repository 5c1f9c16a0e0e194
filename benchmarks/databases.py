"""On which database does a benchmark run? One of its own, on the system's server or on an embedded one."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from embedded import engines, postgres
from hsu_jobs import database

SYSTEM = "postgresql://localhost/postgres"


@contextmanager
def server(given: str | None = None) -> Iterator[str]:
    """The server that was named, the system's if it answers, or one of our own for this run."""
    if given or _answers(SYSTEM):
        yield given or SYSTEM
        return
    with tempfile.TemporaryDirectory(prefix="hsu-bench-") as name:
        folder = Path(name, "engines")
        engines.prepare(folder)
        try:
            yield postgres.start(folder / "postgres")
        finally:
            postgres.stop(folder / "postgres")


@contextmanager
def empty(server: str) -> Iterator[str]:
    """An empty database on a server, dropped at the end."""
    name = f"hsu_bench_{secrets.token_hex(4)}"
    with psycopg.connect(plain(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def migrated(server: str) -> Iterator[str]:
    """A database with our tables on a server, dropped at the end."""
    with empty(server) as url:
        database.migrate(url)
        yield url


def plain(url: str) -> str:
    """The URL as psycopg itself writes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
