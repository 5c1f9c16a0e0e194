"""Which job is next, and which machine may take it?"""

from __future__ import annotations

import numpy as np
import pytest
from claims import GPUS, Later, Submit, claim, claimed, machine, order, person
from samples import DIGITS, ROOM
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.outcomes import Crashed
from hsu_jobs.settings import Settings
from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import Attempt, Duty, Job, User, Worker


def test_higher_priority_goes_first_and_of_equals_the_oldest(session: Session, owner: User, submit: Submit) -> None:
    first, low, high, last = (submit(owner, priority=priority) for priority in (0, -3, 7, 0))
    assert order(session) == [high.id, first.id, last.id, low.id]


def test_priority_counts_for_more_than_a_share(session: Session, owner: User, submit: Submit) -> None:
    bob = person(session, "bob")
    owner.usage = 1e6
    his, hers = submit(bob), submit(owner, priority=1)
    assert order(session) == [hers.id, his.id]


def test_a_job_gets_as_many_gpus_as_it_asks_for(session: Session, owner: User, submit: Submit) -> None:
    submit(owner, resources={"gpus": 3})
    assert claim(session, Room("w", "default", GPUS[:2], 4)) is None
    assert claim(session, Room("w", "default", GPUS[:2], 2)) is None
    found = claimed(session, Room("w", "default", GPUS, 4))
    assert found.devices == GPUS[:3]
    assert session.execute(select(Attempt.device, Attempt.gpus)).one() == ("cuda:0,cuda:1,cuda:2", 3)
    assert owner.gpus == 3


def test_a_smaller_job_passes_one_that_does_not_fit_yet(session: Session, owner: User, submit: Submit) -> None:
    submit(owner, resources={"gpus": 2})
    small = submit(owner)
    machine(session, "w", gpus=2)
    assert claimed(session, Room("w", "default", GPUS[:1], 2)).job_id == small.id


def test_a_job_is_only_taken_by_its_pool(session: Session, owner: User, submit: Submit) -> None:
    job = submit(owner, resources={"pool": "large"})
    assert claim(session) is None
    assert claimed(session, ROOM._replace(pool="large")).job_id == job.id


@pytest.mark.parametrize("duty", [Duty.DRAINING, Duty.EXCLUDED])
def test_a_worker_off_duty_gets_nothing(session: Session, owner: User, submit: Submit, duty: Duty) -> None:
    submit(owner)
    machine(session, ROOM.worker, gpus=1)
    session.get_one(Worker, ROOM.worker).duty = duty
    session.flush()
    assert claim(session) is None
    assert claim(session, ROOM._replace(worker="other")) is not None


def test_a_job_that_backs_off_is_passed_until_its_time(
    session: Session, owner: User, submit: Submit, later: Later
) -> None:
    first, second = submit(owner, priority=1), submit(owner)
    attempts.settle(session, claimed(session).token, Crashed(message="SIGSEGV"), Settings())
    assert order(session) == [second.id]
    later(4.9)
    assert order(session) == []
    later(0.2)
    assert order(session) == [first.id]


@pytest.mark.new_database  # rows that were deleted are read too, until they are vacuumed
def test_a_claim_reads_as_few_rows_of_a_long_queue_as_of_a_short_one(session: Session, owner: User) -> None:
    """Also by a plan that was made when the queue was empty, and when it was known to be short."""
    person(session, "bob")
    job = {"name": "x", "tags": [], "spec": DIGITS, "fingerprint": "", "state": State.QUEUED, "wanted": Wanted.RUN}
    for _ in range(10):  # psycopg prepares what comes often
        assert claim(session) is None
    session.execute(insert(Job), [job | {"owner_id": owner.id}] * 2)
    session.execute(text("ANALYZE"))
    assert claim(session) is not None
    session.execute(insert(Job), [job | {"owner_id": owner.id + number % 2} for number in range(4000)])
    scans = text("SELECT pg_stat_get_xact_numscans('jobs'::regclass), pg_stat_get_xact_numscans(:index ::regclass)")
    rows = text(
        "SELECT pg_stat_get_xact_tuples_returned('jobs'::regclass), pg_stat_get_xact_tuples_fetched('jobs'::regclass)"
    )
    before = np.array([*session.execute(scans, {"index": "jobs_runnable"}).one(), *session.execute(rows).one()])
    assert claim(session) is not None
    after = np.array([*session.execute(scans, {"index": "jobs_runnable"}).one(), *session.execute(rows).one()])
    sequential, probes, returned, fetched = (after - before).tolist()
    kinds = 1 + len(ROOM.datasets)  # one probe each says whether any job waits for it
    plugins = 1 + 1  # no job needs any: one set, and one probe says that there is no other
    assert (sequential, probes, returned) == (0, plugins + kinds + 2, 0)
    assert fetched < 10
