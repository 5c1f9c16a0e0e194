"""For which job is what becomes free on a machine kept?"""

from __future__ import annotations

import pytest
from claims import GPUS, SETTINGS, Later, Submit, claim, claimed, machine
from sqlalchemy.orm import Session

from hsu_jobs.cluster.claiming import Room
from hsu_jobs.tables import Job, User, Worker

HALF_FREE = Room("one", "default", GPUS[:1], 2)


@pytest.fixture
def big(session: Session, owner: User, submit: Submit, later: Later) -> Job:
    """A job for two GPUs that has waited for long, two machines of which one GPU each is free, and a small job."""
    job = submit(owner, resources={"gpus": 2})
    later(301)
    for name in ("one", "two"):
        machine(session, name, gpus=2)
    submit(owner)
    return job


def test_what_becomes_free_on_one_machine_is_kept_for_a_job_that_has_waited_long(session: Session, big: Job) -> None:
    assert claim(session, HALF_FREE) is None
    assert session.get_one(Worker, "one").holding == big.id
    assert claimed(session, HALF_FREE._replace(worker="two")).job_id != big.id
    assert session.get_one(Worker, "two").holding is None


def test_the_job_for_which_a_machine_was_kept_starts_there_and_the_machine_is_anybodys_again(
    session: Session, owner: User, submit: Submit, big: Job
) -> None:
    assert claim(session, HALF_FREE) is None
    assert claimed(session, HALF_FREE._replace(free=GPUS[:2])).job_id == big.id
    assert claim(session, HALF_FREE) is not None
    assert session.get_one(Worker, "one").holding is None


def test_higher_priority_passes_a_machine_that_is_kept(session: Session, owner: User, submit: Submit, big: Job) -> None:
    urgent = submit(owner, priority=1)
    assert claimed(session, HALF_FREE).job_id == urgent.id
    assert session.get_one(Worker, "one").holding == big.id
    assert claim(session, HALF_FREE) is None


def test_a_machine_that_fell_silent_keeps_nothing(session: Session, later: Later, big: Job) -> None:
    assert claim(session, HALF_FREE) is None
    later(SETTINGS.lease.total_seconds() + 1)
    assert claim(session, HALF_FREE._replace(worker="two")) is None
    assert session.get_one(Worker, "two").holding == big.id


def test_a_job_that_has_not_waited_long_keeps_nothing(session: Session, owner: User, submit: Submit) -> None:
    submit(owner, resources={"gpus": 2})
    small = submit(owner)
    machine(session, "one", gpus=2)
    assert claimed(session, HALF_FREE).job_id == small.id
