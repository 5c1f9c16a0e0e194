"""What every sweep tidies up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from hsu_jobs import database, webhooks
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Answer, AuditRow, Delivery, User
from worker import upkeep


@pytest.mark.parametrize(("days", "left"), [(29, 1), (31, 0)])
def test_what_was_sent_to_webhooks_is_kept_for_as_long_as_is_set(fast: Settings, days: int, left: int) -> None:
    with database.transaction() as session:
        owner = User(name="ada")
        session.add(owner)
        session.flush()
        webhook = webhooks.create(session, owner, url="https://8.8.8.8/", events=["failed"], settings=fast)
        webhooks.ping(session, webhook)
        session.execute(update(Delivery).values(created_at=Delivery.created_at - timedelta(days=days)))
    upkeep.tend(fast)
    with database.transaction() as session:
        assert session.execute(select(func.count()).select_from(Delivery)).scalar_one() == left


def test_answers_and_lines_of_the_audit_log_go_when_they_are_old(fast: Settings) -> None:
    with database.transaction() as session:
        owner = User(name="ada")
        session.add(owner)
        session.flush()
        for age in (timedelta(0), timedelta(days=400)):
            then = func.now() - age
            asked = {"owner_id": owner.id, "key": str(age), "asked_sha256": b"", "status": 201, "body": b""}
            session.add(Answer(**asked, created_at=then))
            told = {"user": "ada", "key_prefix": "", "address": "", "request_id": "", "action": "", "status": 200}
            session.add(AuditRow(**told, subject={}, at=then))
    upkeep.tend(fast)
    with database.transaction() as session:
        left = [session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Answer, AuditRow)]
    assert left == [1, 1]
