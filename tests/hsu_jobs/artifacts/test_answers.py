"""The answers to a test set: kept beside the result of the attempt that succeeded, and gone with their job."""

from __future__ import annotations

from base64 import b64encode

import pytest
from attempt_records import CRASHED, Claimed, Submit
from samples import CERTIFICATE, TRAINED
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.artifacts import answers
from hsu_jobs.errors import NotFound
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.results import Answers
from hsu_jobs.settings import Settings
from hsu_jobs.tables import AnswersRow, Attempt, EventRow, Job, User

SETTINGS = Settings()
RIGHT = [True, False, False, True, True, False, True, True, False, True]


def told(right: list[bool]) -> Answers:
    bits = "".join(str(int(each)) for each in right).ljust(16, "0")
    return Answers(count=len(right), bits=b64encode(int(bits, 2).to_bytes(2, "big")))


def test_they_are_kept_once_the_job_has_succeeded_and_only_there(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    attempts.settle(session, claimed().token, CRASHED, SETTINGS)
    with pytest.raises(NotFound, match=f"job {job.id} has no answers"):
        answers.of(session, job.id)
    job.runnable_at = func.now()
    session.flush()
    result = TRAINED.model_copy(update={"certificate": CERTIFICATE})
    attempts.settle(session, claimed().token, Succeeded(result=result, answers=told(RIGHT)), SETTINGS)
    session.flush()
    session.refresh(job)
    assert answers.of(session, job.id).right() == RIGHT
    assert job.result is not None
    assert job.result["certificate"]["final_weights"] == CERTIFICATE.final_weights
    outcomes = session.execute(select(Attempt.outcome).where(Attempt.job_id == job.id)).scalars().all()
    events = session.execute(select(EventRow.event).where(EventRow.job_id == job.id)).scalars().all()
    assert "answers" not in str([*outcomes, *events])
    assert "certificate" not in str([*outcomes, *events])


def test_later_answers_replace_earlier_ones_and_a_job_takes_its_own_with_it(
    session: Session, owner: User, submit: Submit
) -> None:
    one, other = submit(owner), submit(owner)
    for job in (one, other):
        answers.keep(session, job.id, told(RIGHT))
    answers.keep(session, one.id, told(RIGHT[:3]))
    found = answers.of_all(session, [one.id, other.id, other.id + 1])
    assert {job_id: kept.right() for job_id, kept in found.items()} == {one.id: RIGHT[:3], other.id: RIGHT}
    session.execute(delete(EventRow).where(EventRow.job_id == one.id))
    session.execute(delete(Job).where(Job.id == one.id))
    assert session.execute(select(AnswersRow.job_id)).scalars().all() == [other.id]
