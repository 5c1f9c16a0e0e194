"""The life of a job, on a real Postgres."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from samples import ROOM, TRAINED
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Series
from hsu_jobs import attempts, database, lifecycle, queries
from hsu_jobs.attempts import Claim, Wish
from hsu_jobs.curves import Point, read, write
from hsu_jobs.errors import IdempotencyConflict, IllegalMove, LeaseLost
from hsu_jobs.outcomes import Cancelled, Crashed, Failed, Released, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, Limits
from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import Attempt, EventRow, Job, User

SETTINGS = Settings(retry_after=timedelta(microseconds=1))
OVER = SETTINGS.model_copy(update={"lease": timedelta(seconds=-1)})


def claimed(session: Session) -> Claim:
    claim = attempts.claim(session, ROOM, SETTINGS)
    assert claim is not None
    session.flush()
    return claim


def kinds(session: Session, job: Job) -> list[str]:
    events = session.execute(select(EventRow.event).where(EventRow.job_id == job.id).order_by(EventRow.id)).scalars()
    return [event["kind"] for event in events]


def test_a_job_is_queued_claimed_and_settled(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    assert job.state is State.QUEUED
    claim = claimed(session)
    assert (claim.job_id, claim.attempt) == (job.id, 1)
    session.refresh(job)
    assert job.state is State.RUNNING
    assert attempts.settle(session, claim.token, Succeeded(result=TRAINED), SETTINGS) is State.SUCCEEDED
    session.flush()
    session.refresh(job)
    assert job.result == TRAINED.model_dump(mode="json")
    assert job.finished_at is not None
    assert kinds(session, job) == ["submitted", "started", "ended"]


def test_the_oldest_job_is_claimed_first_and_an_empty_queue_gives_nothing(
    session: Session, owner: User, spec: JobSpec
) -> None:
    first, second = (lifecycle.submit(session, spec, owner=owner) for _ in range(2))
    assert [claimed(session).job_id, claimed(session).job_id] == [first.id, second.id]
    assert attempts.claim(session, ROOM, SETTINGS) is None


def test_many_claimers_at_once_never_get_the_same_job(session: Session, owner: User, spec: JobSpec) -> None:
    made = {lifecycle.submit(session, spec, owner=owner).id for _ in range(30)}
    session.commit()

    def claim_until_empty(worker: int) -> list[int]:
        mine = []
        while True:
            with database.transaction() as own:
                claim = attempts.claim(own, ROOM._replace(worker=str(worker)), SETTINGS)
            if claim is None:
                return mine
            mine.append(claim.job_id)

    with ThreadPoolExecutor(6) as pool:
        taken = [job for jobs in pool.map(claim_until_empty, range(6)) for job in jobs]
    assert sorted(taken) == sorted(made)


def test_a_token_that_is_no_longer_live_may_write_nothing(session: Session, owner: User, spec: JobSpec) -> None:
    lifecycle.submit(session, spec, owner=owner)
    claim = claimed(session)
    attempts.settle(session, claim.token, Crashed(message="SIGSEGV"), SETTINGS)
    for token in (claim.token, uuid.uuid4()):
        with pytest.raises(LeaseLost):
            attempts.renew(session, token, lease=SETTINGS.lease)
        with pytest.raises(LeaseLost):
            attempts.progress(session, token, step=1)
        with pytest.raises(LeaseLost):
            attempts.settle(session, token, Succeeded(result=TRAINED), SETTINGS)
        with pytest.raises(LeaseLost):
            attempts.held(session, token)


def test_a_lease_that_ran_out_sends_the_job_back_to_the_queue(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    claim = attempts.claim(session, ROOM, OVER)
    assert claim is not None
    session.commit()  # the clock of a transaction stands still
    assert attempts.expire(session, SETTINGS) == [job.id]
    assert job.state is State.QUEUED
    assert claimed(session).attempt == 2


def test_a_renewed_lease_does_not_run_out(session: Session, owner: User, spec: JobSpec) -> None:
    lifecycle.submit(session, spec, owner=owner)
    claim = attempts.claim(session, ROOM, OVER)
    assert claim is not None
    attempts.renew(session, claim.token, lease=SETTINGS.lease)
    session.commit()
    assert attempts.expire(session, SETTINGS) == []


def test_a_job_that_crashes_every_time_fails_after_its_attempts(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec.model_copy(update={"limits": Limits(max_attempts=2)}), owner=owner)
    for state in (State.QUEUED, State.FAILED):
        assert attempts.settle(session, claimed(session).token, Crashed(message="SIGSEGV"), SETTINGS) is state
        session.commit()  # the clock of a transaction stands still, and a crashed job waits for a moment
    session.flush()
    session.refresh(job)
    assert job.failure == {"code": "crashed", "message": "given up after 2 attempts that got no further: SIGSEGV"}


def test_a_released_job_waits_again(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    attempts.settle(session, claimed(session).token, Released(), SETTINGS)
    assert job.state is State.QUEUED
    assert job.finished_at is None


def test_a_failed_job_says_why(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    attempts.settle(session, claimed(session).token, Failed(code="diverged", message="loss at step 3"), SETTINGS)
    assert job.state is State.FAILED
    assert job.failure == {"code": "diverged", "message": "loss at step 3"}


def test_a_queued_job_is_cancelled_at_once(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    lifecycle.cancel(session, job.id)
    assert job.state is State.CANCELLED
    assert attempts.claim(session, ROOM, SETTINGS) is None


def test_a_running_job_learns_of_the_wish_and_is_cancelled_when_it_has_stopped(
    session: Session, owner: User, spec: JobSpec
) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    claim = claimed(session)
    assert attempts.progress(session, claim.token, step=3) == Wish(Wanted.RUN, None)
    lifecycle.cancel(session, job.id)
    lifecycle.cancel(session, job.id)
    session.flush()
    assert job.state is State.RUNNING
    assert attempts.progress(session, claim.token, step=4) == Wish(Wanted.CANCEL, None)
    assert attempts.settle(session, claim.token, Cancelled(), SETTINGS) is State.CANCELLED
    assert kinds(session, job) == ["submitted", "started", "asked", "ended"]


def test_a_job_that_ended_cannot_be_cancelled_and_the_error_says_what_it_is(
    session: Session, owner: User, spec: JobSpec
) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    attempts.settle(session, claimed(session).token, Succeeded(result=TRAINED), SETTINGS)
    with pytest.raises(IllegalMove, match="what is: fork, retry"):
        lifecycle.cancel(session, job.id)


def test_progress_never_goes_back(session: Session, owner: User, spec: JobSpec) -> None:
    lifecycle.submit(session, spec, owner=owner)
    claim = claimed(session)
    for step in (5, 3):
        attempts.progress(session, claim.token, step=step)
    assert session.execute(select(Attempt.step)).scalar_one() == 5


def test_an_attempt_that_begins_anew_begins_with_empty_curves(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    claim = claimed(session)
    write(session, job.id, [Point(0, 0.0, {Series(None, "loss"): 2.3})])
    attempts.settle(session, claim.token, Crashed(message="SIGSEGV"), SETTINGS)
    session.commit()
    attempts.begin(session, claimed(session).token, None)
    assert read(session, job.id) == []


def test_the_same_key_and_spec_give_the_same_job(session: Session, owner: User, spec: JobSpec) -> None:
    first = lifecycle.submit(session, spec, owner=owner, idempotency_key="k")
    again = lifecycle.submit(session, spec, owner=owner, idempotency_key="k")
    assert first.id == again.id
    assert lifecycle.submit(session, spec, owner=owner, idempotency_key="other").id != first.id


def test_the_same_key_with_another_spec_is_a_conflict(session: Session, owner: User, spec: JobSpec) -> None:
    lifecycle.submit(session, spec, owner=owner, idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match="use a new key for a new job"):
        lifecycle.submit(session, spec.model_copy(update={"seed": 1}), owner=owner, idempotency_key="k")


def test_a_key_used_by_many_at_once_makes_one_job(session: Session, owner: User, spec: JobSpec) -> None:
    session.commit()

    def submit(_: int) -> int:
        with database.transaction() as own:
            return lifecycle.submit(own, spec, owner=own.get_one(User, owner.id), idempotency_key="k").id

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(submit, range(16)))
    assert len(made) == 1
    assert session.execute(select(func.count()).select_from(Job)).scalar_one() == 1


def test_the_waiting_jobs_are_known_oldest_first(session: Session, owner: User, spec: JobSpec) -> None:
    made = [lifecycle.submit(session, spec, owner=owner).id for _ in range(3)]
    assert session.execute(queries.runnable_ids(2)).scalars().all() == made[:2]
