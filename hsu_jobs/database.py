"""How do we reach Postgres? One engine for each process, one transaction at a time, committed here and nowhere else."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from hsu_jobs import database_outage
from hsu_jobs.settings import BadSettings, settings

_MIGRATIONS = Path(__file__).parent.parent / "migrations"

CONNECT = {
    "connect_timeout": 20,  # five round trips with a password, seven with TLS: a far database may take 2 s for each
    "tcp_user_timeout": 10_000,  # a server that is gone without closing is noticed: when we write
    "keepalives_idle": 10,  # and when we wait for an answer
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # A client that is idle in a transaction delays none for long; times are in UTC, whatever the database's zone is.
    "options": "-c idle_in_transaction_session_timeout=10s -c timezone=UTC",
}
"""How every connection is made; a URL may state any of it otherwise in its query."""


_REST = 1.0
"""Seconds of rest after which a connection is tested before its use: the server may have restarted."""


@cache
def engine() -> Engine:
    """The process's engine; nothing connects before the first query."""
    made = _engine()
    event.listen(made, "engine_disposed", lambda _: _reader(made).dispose())
    return made


@contextmanager
def reading() -> Iterator[Session]:
    """A session that changes nothing: each statement stands alone, which saves BEGIN and COMMIT."""
    with Session(_reader(engine()), expire_on_commit=False) as session:
        yield session


def limit_statements(longest: timedelta) -> None:
    """Let Postgres cancel a statement that takes longer, on every connection that this process opens from now on."""
    milliseconds = round(longest.total_seconds() * 1000)

    def limit(connection: DBAPIConnection, _record: object) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SELECT set_config('statement_timeout', '{milliseconds}', false)")
        connection.commit()

    for each in (engine(), _reader(engine())):
        event.listen(each, "connect", limit)


@contextmanager
def transaction() -> Iterator[Session]:
    """A session that commits at the end, or rolls back if anything was raised."""
    with Session(engine(), expire_on_commit=False) as session:
        yield session
        session.commit()
        calls = list(session.info.get(_AFTER_COMMIT, ()))
    for call in calls:
        call()


@event.listens_for(Session, "after_begin")
def _note_the_connection(session: Session, _transaction: object, connection: Connection) -> None:
    session.info[_CONNECTION] = connection


def cancel_statement(session: Session) -> None:
    """Let Postgres cancel the statement that another thread runs in this session, if there is one now."""
    connection: Connection | None = session.info.get(_CONNECTION)
    if connection is None or connection.closed:
        return
    with suppress(psycopg.Error, exc.SQLAlchemyError):
        asked: Any = connection.connection.driver_connection
        asked.cancel_safe(timeout=CONNECT["connect_timeout"])


_CONNECTION = "connection"


def repeatable_read(session: Session) -> None:
    """Let every query of this transaction see the state at its first one; call it before that."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def after_commit(session: Session, call: Callable[[], object]) -> None:
    """Call this function once the transaction is committed; never if it is not.

    `call` must not raise: the transaction is committed already.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(call)


_AFTER_COMMIT = "afterwards"


@cache
def _reader(_of: Engine) -> Engine:
    """An engine with connections of its own, which begin no transactions; it is disposed together with `_of`."""
    return _engine(isolation_level="AUTOCOMMIT")


def _engine(**how: Any) -> Engine:
    url = with_driver(settings().database_url.get_secret_value())
    connect = {name: value for name, value in CONNECT.items() if name not in url.query}
    how |= {"connect_args": connect, "use_native_hstore": False}  # asking for hstore takes three round trips
    made = create_engine(url, pool_size=10, max_overflow=30, **how)
    database_outage.tell_apart(made)
    _close_what_comes_late(made)
    event.listen(made, "checkin", _note_the_time)
    event.listen(made, "checkout", _ping_after_a_rest)
    return made


def _close_what_comes_late(made: Engine) -> None:
    """Close each connection that was in use when its engine was disposed, when it is returned.

    SQLAlchemy would put it into a pool that is no longer used, where it stays open until garbage collection.
    """
    in_use: WeakSet[Any] = WeakSet()
    late: WeakSet[Any] = WeakSet()

    def come_back(connection: psycopg.Connection[Any] | None, _record: ConnectionPoolEntry) -> None:
        if connection is None:  # it broke, and is closed
            return
        in_use.discard(connection)
        if connection in late:
            connection.close()

    event.listen(made, "checkout", lambda connection, *_: in_use.add(connection))
    event.listen(made, "checkin", come_back)
    event.listen(made, "engine_disposed", lambda _: late.update(in_use))


def _note_the_time(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["since"] = time.monotonic()


def _ping_after_a_rest(connection: psycopg.Connection[Any], record: ConnectionPoolEntry, _: object) -> None:
    """Replaces `pool_pre_ping`, which tests a connection before every use."""
    if time.monotonic() - record.info.get("since", math.inf) < _REST:
        return
    alone = connection.autocommit
    try:
        connection.autocommit = True  # one round trip in place of three
        connection.execute("SELECT")
        connection.autocommit = alone
    except psycopg.Error as error:
        raise exc.DisconnectionError from error


def with_driver(url: str) -> URL:
    """The URL with psycopg as its driver: `postgresql://` and `postgres://` mean the same here."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg")


def require_address() -> None:
    """Raise `BadSettings` where HSU_DATABASE_URL is not set and no database answers at the default address.

    A database that is set may be away for a while; waiting for one that was never set would be in vain. Raises it too
    for any invalid setting.
    """
    default = make_url(settings().database_url.get_secret_value())
    if "HSU_DATABASE_URL" in os.environ:
        return
    try:
        with reading() as session:
            session.execute(select(1))
    except database_outage.AWAY as error:
        detail = f"HSU_DATABASE_URL is not set, and {default} does not answer ({error})"
        raise BadSettings(f"{detail}: set it, and HSU_REDIS_URL") from error
    finally:
        engine().dispose()


def migrate(url: str, revision: str = "head") -> None:
    """Bring a database to a revision: `head`, or `base` to empty it again."""
    config = _alembic()
    config.attributes["url"] = url
    if revision == "base":
        command.downgrade(config, revision)
        return
    command.upgrade(config, revision)


def revisions(session: Session) -> tuple[str | None, str | None]:
    """The revision that the database is at, and the one that this version needs."""
    found = MigrationContext.configure(session.connection()).get_current_revision()
    return found, ScriptDirectory.from_config(_alembic()).get_current_head()


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a migration that is generated from the tables should compare this: partitions are left to Postgres."""
    return kind != "table" or not (name or "").startswith("curve_blocks_")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
