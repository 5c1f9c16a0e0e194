"""What every sweep tidies up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from hsu_core.outcomes import Series
from hsu_jobs import curves, database
from hsu_jobs.curves import Point
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Answer, AuditRow, Block, Delivery, RowFailure, User
from hsu_jobs.webhooks import subscriptions
from worker import maintenance


@pytest.mark.parametrize(("days", "left"), [(29, 1), (31, 0)])
def test_what_was_sent_to_webhooks_is_kept_for_as_long_as_is_set(fast: Settings, days: int, left: int) -> None:
    with database.transaction() as session:
        owner = User(name="ada")
        session.add(owner)
        session.flush()
        webhook = subscriptions.create(session, owner, url="https://8.8.8.8/", events=["failed"], settings=fast)
        subscriptions.ping(session, webhook)
        session.execute(update(Delivery).values(created_at=Delivery.created_at - timedelta(days=days)))
    maintenance.run(fast)
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
    maintenance.run(fast)
    with database.transaction() as session:
        left = [session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Answer, AuditRow)]
    assert left == [1, 1]


def test_a_duty_that_fails_keeps_no_other_from_being_done(fast: Settings) -> None:
    with database.transaction() as session:
        owner = User(name="ada")
        session.add(owner)
        session.flush()
        then = func.now() - timedelta(days=400)
        asked = {"owner_id": owner.id, "asked_sha256": b"", "status": 201, "body": b""}
        session.add(Answer(**asked, key="old", created_at=then))
        told = {"user": "ada", "key_prefix": "", "address": "", "request_id": "", "action": "", "status": 200}
        session.add(AuditRow(**told, subject={}, at=then))
        refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;"
        on_answers = "CREATE TRIGGER refuse BEFORE DELETE ON answers FOR EACH ROW EXECUTE FUNCTION refuse()"
        session.execute(text(refuse + on_answers))
    maintenance.run(fast)
    with database.transaction() as session:
        left = [session.execute(select(func.count()).select_from(table)).scalar_one() for table in (Answer, AuditRow)]
        counted = session.execute(select(RowFailure.loop, RowFailure.last_row)).all()
    assert left == [1, 0]
    assert [tuple(row) for row in counted] == [("upkeep", "idempotency keys")]


def test_a_job_whose_curves_are_damaged_keeps_no_others_from_being_merged(
    fast: Settings, submit: Callable[..., int]
) -> None:
    damaged, whole = submit(), submit()
    with database.transaction() as session:
        for job in (damaged, whole):
            for step in (0, 1):
                point = Point(step, 0.0, {Series(None, "loss"): 1.0})
                curves.write(session, job, [point])
        session.execute(update(Block).where(Block.job_id == damaged, Block.first_step == 0).values(points=b"12345"))
        session.execute(text("UPDATE jobs SET state = 'cancelled', finished_at = now()"))
    assert maintenance.merge_blocks() == 1
    with database.transaction() as session:
        blocks = session.execute(select(Block.job_id, func.count()).group_by(Block.job_id)).all()
        failures = session.get_one(RowFailure, "merging curves")
    assert dict(blocks) == {damaged: 2, whole: 1}
    assert failures.last_row == f"job {damaged}"
