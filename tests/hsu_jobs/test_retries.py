"""When is a job tried again, how long does it wait, and when is it given up?"""

from __future__ import annotations

import pytest
from attempt_records import CRASHED, Claimed, Later, Submit, again, checkpoint, saved
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Faulty, FileMissing, Lost, Outcome, Preempted, Released, Stalled
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Job, User

SETTINGS = Settings()


def test_a_job_that_crashes_every_time_fails_after_its_attempts(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner, limits={"max_attempts": 2})
    for state in (State.QUEUED, State.FAILED):
        assert attempts.settle(session, claimed().token, CRASHED, SETTINGS) is state
        later(60)
    assert job.failure == {"code": "crashed", "message": "given up after 2 attempts that got no further: SIGSEGV"}


@pytest.mark.parametrize(
    "outcome",
    [CRASHED, Stalled(message="no step"), Faulty(message="ECC"), FileMissing(message="no weights"), Lost()],
    ids=lambda outcome: outcome.kind,
)
def test_an_attempt_that_broke_is_a_strike(
    session: Session, owner: User, submit: Submit, claimed: Claimed, outcome: Outcome
) -> None:
    job = submit(owner)
    attempts.settle(session, claimed().token, outcome, SETTINGS)
    assert (job.strikes, job.state) == (1, State.QUEUED)


@pytest.mark.parametrize("outcome", [Preempted(), Released()], ids=lambda outcome: outcome.kind)
def test_an_attempt_that_had_to_stop_is_no_strike_and_the_job_may_start_at_once(
    session: Session, owner: User, submit: Submit, claimed: Claimed, outcome: Outcome
) -> None:
    job = submit(owner, limits={"max_attempts": 1})
    for _ in range(3):
        attempts.settle(session, claimed().token, outcome, SETTINGS)
    assert (job.strikes, job.state, job.finished_at) == (0, State.QUEUED, None)


def waits(session: Session, job: Job) -> float:
    """Seconds until the job may be tried again."""
    session.flush()
    question = select(func.extract("epoch", Job.runnable_at - func.now())).where(Job.id == job.id)
    return float(session.execute(question).scalar_one())


def test_each_further_crash_doubles_the_wait_up_to_five_minutes(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner, limits={"max_attempts": 100})
    for seconds in (5, 10, 20, 40, 80, 160, 300, 300):
        attempts.settle(session, claimed().token, CRASHED, SETTINGS)
        assert waits(session, job) == seconds
        later(300)


def test_a_lost_job_may_be_tried_at_once_elsewhere(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    attempts.settle(session, claimed().token, Lost(), SETTINGS)
    assert waits(session, job) == 0


def test_a_crash_after_a_newer_checkpoint_begins_to_count_anew(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner, limits={"max_attempts": 3})
    for strikes, newest in ((1, None), (2, None), (1, 10), (2, None), (1, 20), (1, 30)):
        claim = claimed()
        if newest is not None:
            attempts.progress(session, claim.token, step=newest, saved=[saved(newest)])
            session.flush()
        attempts.settle(session, claim.token, CRASHED, SETTINGS)
        assert (job.strikes, job.state, waits(session, job)) == (strikes, State.QUEUED, 5 * strikes)
        later(60)


def test_saving_again_where_it_went_on_is_no_progress(
    session: Session, begun: Claim, claimed: Claimed, later: Later
) -> None:
    job = session.get_one(Job, begun.job_id)
    for strikes in (1, 2):
        token = again(session, begun, claimed, later) if strikes == 1 else claimed().token
        attempts.begin(session, token, checkpoint(session, job, 20))
        assert job.strikes == strikes
        attempts.settle(session, token, CRASHED, SETTINGS)
        later(60)
