"""Why a job waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from samples import ROOM
from sqlalchemy import update
from sqlalchemy.orm import Session

from hsu_jobs import attempts, lifecycle
from hsu_jobs.cluster import waiting, workers
from hsu_jobs.outcomes import Crashed, Released
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, Resources
from hsu_jobs.tables import Attempt, Job, User

SETTINGS = Settings(retry_after=timedelta(minutes=1))


@pytest.fixture
def worker(session: Session) -> None:
    workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=1)


def reason(session: Session, job: Job) -> str | None:
    session.flush()
    session.refresh(job)
    found = waiting.why(session, job, SETTINGS)
    return found and found.reason


def test_without_a_worker_nothing_starts(session: Session, owner: User, spec: JobSpec) -> None:
    assert reason(session, lifecycle.submit(session, spec, owner=owner)) == "no_worker"


@pytest.mark.usefixtures("worker")
def test_a_job_is_next_then_runs_and_the_others_wait_behind_it(session: Session, owner: User, spec: JobSpec) -> None:
    first, second, third = (lifecycle.submit(session, spec, owner=owner) for _ in range(3))
    assert [reason(session, job) for job in (first, second, third)] == ["next", "behind", "behind"]
    attempts.claim(session, ROOM, SETTINGS)
    assert [reason(session, job) for job in (first, second, third)] == [None, "machine_busy", "behind"]
    found = waiting.why(session, third, SETTINGS)
    assert found is not None
    assert (found.ahead, found.detail) == (1, "1 job goes first; 1 of 1 slots are in use")


@pytest.mark.usefixtures("worker")
def test_others_take_turns_with_me_and_higher_priority_goes_first(session: Session, owner: User, spec: JobSpec) -> None:
    bob = User(name="bob")
    session.add(bob)
    mine = [lifecycle.submit(session, spec, owner=owner) for _ in range(3)]
    his = [lifecycle.submit(session, spec, owner=bob) for _ in range(3)]
    urgent = lifecycle.submit(session, spec.model_copy(update={"priority": 9}), owner=bob)
    order = [place.job_id for place in waiting.overview(session, SETTINGS).places]
    assert order == [job.id for job in (urgent, mine[0], mine[1], his[0], mine[2], his[1], his[2])]
    last = waiting.why(session, mine[2], SETTINGS)
    assert last is not None
    assert last.ahead == 5  # two of his as they take turns, and the urgent one


@pytest.mark.usefixtures("worker")
def test_a_quota_holds_back(session: Session, owner: User, spec: JobSpec) -> None:
    owner.max_gpus = 1
    _, second = (lifecycle.submit(session, spec, owner=owner) for _ in range(2))
    attempts.claim(session, ROOM, SETTINGS)
    session.expire_all()
    found = waiting.why(session, second, SETTINGS)
    assert found is not None
    assert (found.reason, found.detail) == ("quota", "ada uses 1 of at most 1 GPUs")


@pytest.mark.usefixtures("worker")
def test_a_job_that_is_larger_than_every_machine_says_so(session: Session, owner: User, spec: JobSpec) -> None:
    large = spec.model_copy(update={"resources": Resources(gpus=4)})
    assert reason(session, lifecycle.submit(session, large, owner=owner)) == "too_large"


@pytest.mark.usefixtures("worker")
def test_a_job_that_crashed_backs_off(session: Session, owner: User, spec: JobSpec) -> None:
    job = lifecycle.submit(session, spec, owner=owner)
    claim = attempts.claim(session, ROOM, SETTINGS)
    assert claim is not None
    attempts.settle(session, claim.token, Crashed(message="SIGSEGV"), SETTINGS)
    assert reason(session, job) == "backing_off"


@pytest.mark.usefixtures("worker")
def test_the_estimate_takes_recent_jobs_as_typical(session: Session, owner: User, spec: JobSpec) -> None:
    for _ in range(3):
        lifecycle.submit(session, spec, owner=owner)
    for _ in range(2):
        claim = attempts.claim(session, ROOM, SETTINGS)
        assert claim is not None
        attempts.settle(session, claim.token, Released(), SETTINGS)
    session.execute(update(Attempt).values(started_at=Attempt.ended_at - timedelta(seconds=60)))
    attempts.claim(session, ROOM, SETTINGS)
    overview = waiting.overview(session, SETTINGS)
    assert [pool.typical for pool in overview.pools] == [60.0]
    assert [place.waiting.starts_in for place in overview.places] == [60.0, 120.0]
