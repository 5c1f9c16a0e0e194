"""How does an attempt begin, and how does it end, on a real Postgres?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from attempt_records import CRASHED, Claimed, Submit
from samples import ROOM, TRAINED
from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.attempts import Claim, DesiredState
from hsu_jobs.outcomes import Failed, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables import EventRow, Job, User

SETTINGS = Settings()


def test_a_job_is_queued_claimed_and_settled(session: Session, owner: User, submit: Submit, claimed: Claimed) -> None:
    job = submit(owner)
    assert job.state is State.QUEUED
    claim = claimed()
    assert (claim.job_id, claim.attempt, claim.devices) == (job.id, 1, ROOM.free)
    assert job.state is State.RUNNING
    assert attempts.settle(session, claim.token, Succeeded(result=TRAINED), SETTINGS) is State.SUCCEEDED
    session.flush()
    session.refresh(job)
    assert job.result == TRAINED.model_dump(mode="json")
    assert job.finished_at is not None
    events = session.execute(select(EventRow.event).order_by(EventRow.id)).scalars().all()
    assert [event["kind"] for event in events] == ["submitted", "started", "ended"]
    assert events[1] == {"kind": "started", "attempt": 1, "worker": ROOM.worker, "device": "cpu:0"}


def test_an_empty_queue_gives_nothing(session: Session) -> None:
    assert attempts.claim(session, ROOM, SETTINGS) is None


def test_many_claimers_at_once_never_get_the_same_job(session: Session, owner: User, submit: Submit) -> None:
    made = {submit(owner).id for _ in range(30)}
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


def test_a_failed_job_says_why(session: Session, owner: User, submit: Submit, claimed: Claimed) -> None:
    job = submit(owner)
    attempts.settle(session, claimed().token, Failed(code="diverged", message="loss at step 3"), SETTINGS)
    assert job.state is State.FAILED
    assert job.failure == {"code": "diverged", "message": "loss at step 3"}


@pytest.mark.parametrize(
    ("wanted", "stop", "outcome", "state"),
    [
        (Wanted.RUN, None, "released", State.QUEUED),
        (Wanted.RUN, Stop.PREEMPT, "preempted", State.QUEUED),
        (Wanted.RUN, Stop.DRAIN, "released", State.QUEUED),
        (Wanted.RUN, Stop.DEADLINE, "overdue", State.FAILED),
        (Wanted.PAUSE, None, "paused", State.PAUSED),
        (Wanted.PAUSE, Stop.PREEMPT, "paused", State.PAUSED),
        (Wanted.PAUSE, Stop.DRAIN, "paused", State.PAUSED),
        (Wanted.PAUSE, Stop.DEADLINE, "overdue", State.FAILED),
        *((Wanted.CANCEL, stop, "cancelled", State.CANCELLED) for stop in (None, *Stop)),
    ],
)
def test_who_stopped_when_asked_to_ends_as_was_asked(
    session: Session, begun: Claim, wanted: Wanted, stop: Stop | None, outcome: str, state: State
) -> None:
    job, attempt = attempts.held(session, begun.token)
    job.wanted, attempt.stop = wanted, stop
    session.flush()
    wish, _ = attempts.renew(session, begun.token, lease=SETTINGS.lease)
    assert wish == DesiredState(wanted, stop)
    assert wish.asks_to_stop == (wanted is not Wanted.RUN or stop is not None)
    assert attempts.release(session, begun.token, SETTINGS).kind == outcome
    assert job.state is state


def test_a_job_that_ended_while_it_was_to_be_cancelled_keeps_its_result(session: Session, begun: Claim) -> None:
    lifecycle.cancel(session, begun.job_id)
    assert attempts.settle(session, begun.token, Succeeded(result=TRAINED), SETTINGS) is State.SUCCEEDED
    assert session.get_one(Job, begun.job_id).result is not None


def test_a_cancelled_job_that_crashes_meanwhile_is_cancelled(session: Session, begun: Claim) -> None:
    lifecycle.cancel(session, begun.job_id)
    session.flush()
    assert attempts.settle(session, begun.token, CRASHED, SETTINGS) is State.CANCELLED
