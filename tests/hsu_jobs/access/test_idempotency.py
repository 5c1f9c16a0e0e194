"""Requests that are done once, on a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hsu_jobs import database
from hsu_jobs.access import idempotency
from hsu_jobs.access.idempotency import Request, StoredAnswer
from hsu_jobs.errors import IdempotencyConflict, UnderWay
from hsu_jobs.tables import Answer, User

DAY = timedelta(days=1)
GIVEN = StoredAnswer(201, "/v1/jobs/1", b'{"id":1}')


@pytest.fixture
def request_(session: Session, owner: User) -> Request:
    session.commit()
    return Request(owner.id, "k", b"\x01" * 32)


@pytest.fixture
def other() -> Iterator[Session]:
    """Another connection."""
    with Session(database.engine()) as session:
        yield session


def test_what_was_answered_is_answered_again(session: Session, request_: Request) -> None:
    assert idempotency.stored(session, request_, keep=DAY) is None
    idempotency.store(session, request_, GIVEN, keep=DAY)
    assert idempotency.stored(session, request_, keep=DAY) == GIVEN


def test_the_same_key_with_another_request_is_a_conflict(session: Session, request_: Request) -> None:
    idempotency.store(session, request_, GIVEN, keep=DAY)
    with pytest.raises(IdempotencyConflict, match="use a new key for a new request"):
        idempotency.stored(session, request_._replace(sha256=b"\x02" * 32), keep=DAY)


def test_another_users_key_is_another(session: Session, request_: Request) -> None:
    bob = User(name="bob")
    session.add(bob)
    session.flush()
    idempotency.store(session, request_, GIVEN, keep=DAY)
    assert idempotency.stored(session, request_._replace(owner_id=bob.id), keep=DAY) is None


def test_a_request_under_way_is_not_begun_again(session: Session, other: Session, request_: Request) -> None:
    assert idempotency.stored(session, request_, keep=DAY) is None
    with pytest.raises(UnderWay, match="ask again in a moment"):
        idempotency.stored(other, request_, keep=DAY)
    idempotency.store(session, request_, GIVEN, keep=DAY)
    session.commit()
    other.rollback()
    assert idempotency.stored(other, request_, keep=DAY) == GIVEN


def test_a_request_that_failed_may_come_again(session: Session, other: Session, request_: Request) -> None:
    idempotency.stored(session, request_, keep=DAY)
    idempotency.store(session, request_, GIVEN, keep=DAY)
    session.rollback()
    assert idempotency.stored(other, request_, keep=DAY) is None


def test_who_was_slower_is_told_even_without_the_lock(session: Session, other: Session, request_: Request) -> None:
    # As when the first one commits between the look and the lock of the second.
    idempotency.store(session, request_, GIVEN, keep=DAY)
    session.commit()
    with pytest.raises(UnderWay):
        idempotency.store(other, request_, GIVEN._replace(body=b"another"), keep=DAY)


def test_an_answer_counts_for_a_day_and_is_then_forgotten(session: Session, request_: Request) -> None:
    idempotency.store(session, request_, GIVEN, keep=DAY)
    session.execute(update(Answer).values(created_at=func.now() - 2 * DAY))
    assert idempotency.stored(session, request_, keep=DAY) is None
    idempotency.store(session, request_, GIVEN._replace(body=b"new"), keep=DAY)
    assert idempotency.stored(session, request_, keep=DAY) == GIVEN._replace(body=b"new")
    idempotency.forget(session, keep=DAY)
    assert session.execute(select(func.count()).select_from(Answer)).scalar_one() == 1
    session.execute(update(Answer).values(created_at=func.now() - 2 * DAY))
    idempotency.forget(session, keep=DAY)
    assert session.execute(select(func.count()).select_from(Answer)).scalar_one() == 0
