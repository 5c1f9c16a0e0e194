"""What means that the database is away, and what does not: on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from read_only import read_only
from sqlalchemy import exc, text
from sqlalchemy.orm import Session

from hsu_jobs import database, database_outage
from hsu_jobs.database_outage import AWAY, DatabaseAway, Uptime


def raised(code: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'as it happens' USING ERRCODE = '{code}'; END $$"


@pytest.mark.parametrize(
    "code",
    [
        "25006",
        "40001",
        "40P01",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57014",
        "57P01",
        "57P02",
        "57P03",
        "58030",
        "08006",
    ],
)
def test_what_passes_by_itself_is_the_database_that_is_away(session: Session, code: str) -> None:
    with pytest.raises(DatabaseAway) as caught:
        session.execute(text(raised(code)))
    assert isinstance(caught.value.orig, psycopg.Error)
    assert caught.value.orig.sqlstate == code


@pytest.mark.parametrize("code", ["22003", "23505", "25P02", "42P01", "54000", "54001", "XX000", "XX001", "53400"])
def test_what_is_wrong_with_a_statement_stays_what_it_is(session: Session, code: str) -> None:
    with pytest.raises(exc.DBAPIError) as caught:
        session.execute(text(raised(code)))
    assert not isinstance(caught.value, AWAY)


def test_a_read_only_database_is_away_for_writers_and_there_for_readers(database_url: str, session: Session) -> None:
    session.rollback()
    with read_only(database_url):
        with database.reading() as reader:
            assert reader.execute(text("SELECT 1")).scalar_one() == 1
        with pytest.raises(DatabaseAway) as caught, database.transaction() as writer:
            writer.execute(text("UPDATE users SET name = name"))
        assert caught.value.is_read_only
        assert not caught.value.is_canceled
        assert caught.value.connection_invalidated  # the one that takes writes may be another server
    with database.transaction() as writer:
        writer.execute(text("UPDATE users SET name = name"))


def test_a_connection_that_is_ended_is_away_and_the_next_one_is_there(session: Session) -> None:
    with pytest.raises(DatabaseAway):
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    session.rollback()
    assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_a_statement_that_took_too_long_is_told_from_one_that_an_operator_cancelled(session: Session) -> None:
    with pytest.raises(DatabaseAway) as late:
        session.execute(text("SET LOCAL statement_timeout = 1; SELECT pg_sleep(10)"))
    session.rollback()
    with pytest.raises(DatabaseAway) as cancelled:
        session.execute(text("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(10)"))
    assert (late.value.is_canceled, cancelled.value.is_canceled) == (True, False)


def test_an_exception_of_our_own_is_no_outage() -> None:
    assert not database_outage.is_away(KeyboardInterrupt(), is_disconnect=True)


def test_uptime_counts_from_the_last_refusal_and_from_the_last_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)

    def passes(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(database_outage, "_now", lambda: database_outage._Now(clock.now, clock.now))
    uptime = Uptime(longest_gap=timedelta(seconds=0.2))
    assert not uptime.length
    passes(0.1)
    uptime.note_answer()
    assert uptime.length.total_seconds() == pytest.approx(0.1)
    passes(0.15)
    uptime.note_answer()
    assert uptime.length.total_seconds() == pytest.approx(0.25)
    uptime.note_refusal()
    assert not uptime.length
    passes(0.1)
    uptime.note_answer()
    assert uptime.length
    passes(0.21)  # longer than what may lie between two looks
    uptime.note_answer()
    assert not uptime.length
