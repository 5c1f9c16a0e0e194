"""API keys: shown once, kept as digests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.access import keys
from hsu_jobs.errors import Unauthorized
from hsu_jobs.tables import ApiKey, Role, User


def test_a_key_leads_to_its_holder(session: Session) -> None:
    key = keys.create(session, user="ada", role=Role.MEMBER)
    holder = keys.holder(session, key)
    assert (holder.user.name, holder.role) == ("ada", Role.MEMBER)
    assert key.startswith(f"hsu_{holder.prefix}_")


def test_a_user_may_have_several_keys(session: Session) -> None:
    assert len({keys.create(session, user="ada", role=Role.MEMBER) for _ in range(3)}) == 3
    assert session.execute(select(func.count()).select_from(User)).scalar_one() == 1


def test_the_key_itself_is_not_kept(session: Session) -> None:
    key = keys.create(session, user="ada", role=Role.ADMIN)
    row = session.execute(select(ApiKey)).scalar_one()
    secret = key.split("_", 2)[2].encode()
    assert all(secret not in str(value).encode() for value in vars(row).values())


@pytest.mark.parametrize(
    "change", [{"revoked_at": func.now()}, {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}]
)
def test_a_revoked_or_expired_key_opens_nothing(session: Session, change: dict[str, object]) -> None:
    key = keys.create(session, user="ada", role=Role.ADMIN)
    session.flush()
    session.execute(update(ApiKey).values(**change))
    with pytest.raises(Unauthorized):
        keys.holder(session, key)


def test_a_key_that_expires_later_opens_now(session: Session) -> None:
    key = keys.create(session, user="ada", role=Role.ADMIN, expires_in=timedelta(hours=1))
    assert keys.holder(session, key).user.name == "ada"


@pytest.fixture
def fast_clock(session: Session) -> None:
    """The database's clock is two hours ahead of this machine's."""
    session.execute(text("CREATE SCHEMA shifted"))
    body = "SELECT pg_catalog.now() + interval '2 hours'"
    session.execute(text(f"CREATE FUNCTION shifted.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ {body} $$"))
    session.execute(text("SET LOCAL search_path = shifted, pg_catalog, public"))


@pytest.mark.usefixtures("fast_clock")
def test_the_databases_clock_says_when_a_key_expires(session: Session) -> None:
    old = keys.create(session, user="ada", role=Role.ADMIN)
    session.execute(update(ApiKey).values(expires_at=datetime.now(UTC) + timedelta(hours=1)))
    with pytest.raises(Unauthorized):
        keys.holder(session, old)  # by this machine's clock it has an hour left
    new = keys.create(session, user="ada", role=Role.ADMIN, expires_in=timedelta(seconds=60))
    found = keys.find(session, new)
    assert found is not None
    assert found.opens
    assert found.seconds == pytest.approx(60, abs=5)


def issued(session: Session, made_by: ApiKey | None = None) -> ApiKey:
    return keys.issue(session, user="ada", role=Role.MEMBER, made_by=made_by).row


def opens(session: Session, *rows: ApiKey) -> list[bool]:
    ended = {key_id for key_id, _ in session.execute(queries.keys_that_ended([row.id for row in rows]))}
    return [row.id not in ended for row in rows]


def test_revoking_takes_what_a_key_made_along(session: Session) -> None:
    leaked = issued(session)
    child, other = issued(session, leaked), issued(session)
    grandchild = issued(session, child)
    assert keys.revoke(session, leaked, along=True) == [child.id, grandchild.id]
    assert opens(session, leaked, child, grandchild, other) == [False, False, False, True]


def test_revoking_may_leave_what_a_key_made(session: Session) -> None:
    maker = issued(session)
    child = issued(session, maker)
    assert keys.revoke(session, maker, along=False) == []
    assert opens(session, maker, child) == [False, True]


def test_the_key_that_asks_and_what_it_made_are_left(session: Session) -> None:
    leaked = issued(session)
    asks, sibling = issued(session, leaked), issued(session, leaked)
    made = issued(session, asks)
    assert keys.revoke(session, leaked, along=True, asked_by=asks) == [sibling.id]
    assert opens(session, leaked, asks, sibling, made) == [False, True, False, True]
