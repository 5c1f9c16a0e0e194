"""What is kept of an attempt, and with what does the next one begin?"""

from __future__ import annotations

import pytest
from attempt_records import Claimed, Later, again, checkpoint, points, saved, steps
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts, curves, database
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import Attempt, Block, CheckpointRow, EventRow, Job


def test_progress_never_goes_back(session: Session, begun: Claim) -> None:
    for step in (25, 3):
        attempts.progress(session, begun.token, step=step)
    assert session.execute(select(Attempt.step)).scalar_one() == 25


def test_a_checkpoint_is_known_only_with_the_curves_before_it(session: Session, begun: Claim) -> None:
    session.commit()

    def broken_off() -> None:
        with database.transaction() as own:
            attempts.progress(own, begun.token, step=30, points=points(30), saved=[saved(30)])
            own.flush()
            raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError, match="the database went away"):
        broken_off()
    job = session.get_one(Job, begun.job_id)
    assert steps(session, job) == [0, 10, 20]
    assert session.execute(select(func.max(CheckpointRow.step))).scalar_one() == 20
    with database.transaction() as own:
        attempts.progress(own, begun.token, step=30, points=points(30), saved=[saved(30, is_best=True)])
    assert steps(session, job) == [0, 10, 20, 30]
    row = checkpoint(session, job, 30)
    assert (row.attempt, row.path, row.sha256, row.bytes, row.metric, row.is_best) == (1, "1/30", "ab", 3, 0.5, True)
    assert last_event(session) == {"kind": "saved", "attempt": 1, "step": 30}


def last_event(session: Session) -> dict[str, object] | None:
    return session.execute(select(EventRow.event).order_by(EventRow.id.desc())).scalars().first()


def test_an_attempt_that_begins_at_the_start_begins_with_nothing(
    session: Session, begun: Claim, claimed: Claimed, later: Later
) -> None:
    job = session.get_one(Job, begun.job_id)
    attempts.begin(session, again(session, begun, claimed, later), None)
    assert curves.read(session, job.id) == []
    assert session.execute(select(func.count()).select_from(CheckpointRow)).scalar_one() == 0


def test_an_attempt_that_goes_on_takes_everything_back_to_its_checkpoint(
    session: Session, begun: Claim, claimed: Claimed, later: Later
) -> None:
    job = session.get_one(Job, begun.job_id)
    assert session.execute(select(Block.first_step, Block.last_step)).all() == [(0, 20)]
    token = again(session, begun, claimed, later)
    attempts.begin(session, token, checkpoint(session, job, 10))
    assert steps(session, job) == [0]
    assert session.execute(select(CheckpointRow.step)).scalars().all() == [10]
    _, attempt = attempts.held(session, token)
    assert (attempt.number, attempt.resumed_from, attempt.step) == (2, 10, 10)
    assert last_event(session) == {"kind": "restored", "attempt": 2, "step": 10}
    attempts.progress(session, token, step=20, points=points(10, 20), saved=[saved(20)])
    assert steps(session, job) == [0, 10, 20]
    assert checkpoint(session, job, 20).attempt == 2


def test_a_damaged_checkpoint_is_told_of_and_an_older_one_must_do(session: Session, begun: Claim) -> None:
    job = session.get_one(Job, begun.job_id)
    attempts.note_damage(session, begun.token, checkpoint(session, job, 20), "expected ab, found cd")
    session.flush()
    assert last_event(session) == {"kind": "damaged", "step": 20, "message": "expected ab, found cd"}
    assert checkpoint(session, job, 20).removed_at is not None
