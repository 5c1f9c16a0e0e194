"""How long does an attempt hold its job, and which writes are refused afterwards?"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from attempt_records import CRASHED, Claimed, Later, Submit, checkpoint, points, saved
from samples import ROOM, TRAINED
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from waiting import until

from hsu_jobs import attempts, database
from hsu_jobs.attempts import Claim
from hsu_jobs.errors import LeaseLost
from hsu_jobs.outcomes import Lost, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import CheckpointRow, Job, User

SETTINGS = Settings()
OVER = SETTINGS.model_copy(update={"lease": timedelta(seconds=-1)})

WRITES: dict[str, Callable[[Session, UUID, CheckpointRow], object]] = {
    "held": lambda session, token, row: attempts.held(session, token),
    "begin at the start": lambda session, token, row: attempts.begin(session, token, None),
    "begin at a checkpoint": attempts.begin,
    "note damage": lambda session, token, row: attempts.note_damage(session, token, row, "bad checksum"),
    "renew": lambda session, token, row: attempts.renew(session, token, lease=SETTINGS.lease),
    "progress": lambda session, token, row: attempts.progress(
        session, token, step=30, points=points(30), saved=[saved(30)]
    ),
    "settle": lambda session, token, row: attempts.settle(session, token, Succeeded(result=TRAINED), SETTINGS),
    "release": lambda session, token, row: attempts.release(session, token, SETTINGS),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_token_that_is_not_live_may_write_nothing(session: Session, begun: Claim, later: Later, write: str) -> None:
    job = session.get_one(Job, begun.job_id)
    row = checkpoint(session, job, 10)
    attempts.settle(session, begun.token, CRASHED, SETTINGS)
    later(60)
    assert attempts.claim(session, ROOM, SETTINGS) is not None
    session.flush()
    before = everything(session)
    for token in (begun.token, uuid.uuid4()):
        with pytest.raises(LeaseLost):
            WRITES[write](session, token, row)
    session.flush()
    assert everything(session) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_comes_while_the_attempt_is_being_ended_waits_and_is_refused(
    session: Session, begun: Claim, is_anybody_waiting: Callable[[], bool], write: str
) -> None:
    row = checkpoint(session, session.get_one(Job, begun.job_id), 10)
    session.commit()
    attempts.settle(session, begun.token, Lost(), SETTINGS)
    session.flush()
    before = everything(session)

    def late() -> None:
        with database.transaction() as own:
            WRITES[write](own, begun.token, row)

    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(late)
        until(lambda: refused.done() or is_anybody_waiting())
        session.commit()
        assert isinstance(refused.exception(timeout=60), LeaseLost)
    assert everything(session) == before


def everything(session: Session) -> list[object]:
    """Every row that an attempt may write."""
    tables = ("jobs", "attempts", "events", "checkpoints", "curve_series", "curve_blocks", "users")
    return [session.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2")).all() for table in tables]


def test_a_lease_that_ran_out_sends_the_job_back_to_the_queue(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner)
    claimed()
    later(SETTINGS.lease.total_seconds() - 1)
    assert attempts.expire(session, SETTINGS) == []
    later(2)
    assert attempts.expire(session, SETTINGS) == [job.id]
    assert job.state is State.QUEUED
    assert claimed().attempt == 2


def test_a_renewed_lease_does_not_run_out(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    submit(owner)
    claim = claimed()
    for _ in range(3):
        later(SETTINGS.lease.total_seconds() - 1)
        attempts.renew(session, claim.token, lease=SETTINGS.lease)
    assert attempts.expire(session, SETTINGS) == []


def test_a_renewal_tells_for_how_long_there_was_no_step(session: Session, begun: Claim, later: Later) -> None:
    later(7)
    _, idle = attempts.renew(session, begun.token, lease=SETTINGS.lease)
    assert idle == timedelta(seconds=7)
    attempts.progress(session, begun.token, step=20)
    _, idle = attempts.renew(session, begun.token, lease=SETTINGS.lease)
    assert idle == timedelta(seconds=7)
    attempts.progress(session, begun.token, step=21)
    _, idle = attempts.renew(session, begun.token, lease=SETTINGS.lease)
    assert idle == timedelta(0)


def test_two_who_expire_at_once_end_each_attempt_once(session: Session, owner: User, submit: Submit) -> None:
    made = [submit(owner).id for _ in range(12)]
    for _ in made:
        assert attempts.claim(session, ROOM, OVER) is not None
    session.commit()

    def expire(_: int) -> list[int]:
        with database.transaction() as own:
            return attempts.expire(own, SETTINGS)

    with ThreadPoolExecutor(4) as pool:
        ended = [job for jobs in pool.map(expire, range(4)) for job in jobs]
    assert sorted(ended) == made
    session.expire_all()
    assert owner.gpus == 0
    assert session.execute(select(func.sum(Job.strikes))).scalar_one() == 12
