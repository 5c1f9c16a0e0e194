"""What a worker claims when some jobs cannot be started by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from samples import ROOM
from sqlalchemy import select, text, update

from hsu_jobs import attempts, database
from hsu_jobs.attempts import Claim
from hsu_jobs.settings import Settings
from hsu_jobs.spec import parse
from hsu_jobs.tables import Attempt, Job, RowFailure
from worker import claiming
from worker.claiming import Claims

STRANGE = {"task": "classification", "regularizer": {"kind": "of_tomorrow"}}
Submit = Callable[..., int]


def store(job_id: int, spec: object) -> None:
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(spec=spec))


def attempts_at(job_id: int) -> int:
    with database.transaction() as session:
        return len(session.execute(select(Attempt.id).where(Attempt.job_id == job_id)).all())


def test_a_job_that_cannot_be_read_is_left_without_a_trace_and_the_next_ones_run(
    submit: Submit, fast: Settings
) -> None:
    strange, *others = submit(priority=5), submit(), submit()
    store(strange, STRANGE)
    mine = Claims(fast)
    assert [claim and claim.job_id for claim in (mine.next(ROOM), mine.next(ROOM), mine.next(ROOM))] == [*others, None]
    assert attempts_at(strange) == 0
    with database.transaction() as session:
        assert session.get_one(Job, strange).state == "queued"
        assert session.execute(text("SELECT gpus FROM users")).scalar_one() == len(others)
        assert session.get_one(RowFailure, "claims").failures == 1


def test_a_job_that_was_mended_runs_once_it_is_looked_at_again(
    submit: Submit, fast: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    with database.transaction() as session:
        spec = session.get_one(Job, job).spec
    store(job, STRANGE)
    mine = Claims(fast)
    assert mine.next(ROOM) is None
    store(job, spec)
    assert parse(spec)
    assert mine.next(ROOM) is None
    monkeypatch.setattr(claiming, "LOOK_AGAIN", 0.0)
    claim = mine.next(ROOM)
    assert claim is not None
    assert claim.job_id == job


def test_a_worker_of_another_version_may_take_it_meanwhile(submit: Submit, fast: Settings) -> None:
    """A second look forgets it: what somebody else started is nobody's to pass over."""
    job = submit()
    store(job, STRANGE)
    mine = Claims(fast)
    assert mine.next(ROOM) is None
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET state = 'running'"))
    mine.look_again()
    assert mine._passed_over == set()


def test_a_queued_job_that_has_a_live_attempt_keeps_nobody_from_starting(submit: Submit, fast: Settings) -> None:
    odd, other = submit(priority=5), submit()
    with database.transaction() as session:
        assert attempts.claim(session, ROOM, fast) is not None
        session.execute(text("UPDATE jobs SET state = 'queued'"))
    claim: Claim | None = Claims(fast).next(ROOM)
    assert claim is not None
    assert claim.job_id == other
    assert attempts_at(odd) == 1
