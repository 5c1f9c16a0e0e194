"""API keys: shown once, kept as digests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hsu_jobs import keys
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
    key = keys.create(session, user="ada", role=Role.ADMIN, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert keys.holder(session, key).user.name == "ada"
