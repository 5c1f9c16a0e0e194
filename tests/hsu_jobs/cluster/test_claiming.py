"""Which job is next, and which has to make room: priority, shares over time, quotas, machines, on a real Postgres."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
from claims import DONE, GPUS, SETTINGS, Later, Submit, claim, claimed, machine, order, person
from samples import DIGITS, ROOM
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.outcomes import Crashed, Failed, Outcome, Released
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


def test_a_quota_is_never_exceeded_however_many_claim_at_once(session: Session, owner: User, submit: Submit) -> None:
    owner.max_gpus = 3
    for number in range(40):
        submit(owner, resources={"gpus": 1 + number % 2})
    session.commit()
    in_use = select(func.coalesce(func.sum(Attempt.gpus), 0)).where(Attempt.ended_at.is_(None))

    def work(number: int) -> list[int]:
        seen = []
        for _ in range(12):
            with database.transaction() as own:
                mine = attempts.claim(own, Room(f"w{number}", "default", GPUS[:2], 2), SETTINGS)
            with database.transaction() as own:
                seen.append(own.execute(in_use).scalar_one())
            if mine is not None:
                with database.transaction() as own:
                    attempts.settle(own, mine.token, Released() if number % 2 else DONE, SETTINGS)
        return seen

    with ThreadPoolExecutor(8) as pool:
        seen = [gpus for part in pool.map(work, range(8)) for gpus in part]
    assert max(seen) == 3
    session.expire_all()
    assert owner.gpus == 0


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


@pytest.mark.parametrize("seed", range(3))
def test_gpus_in_use_are_those_of_the_live_attempts_whatever_happens(
    session: Session, owner: User, submit: Submit, later: Later, seed: int
) -> None:
    chance = random.Random(seed)
    users = [owner, person(session, "bob", max_gpus=3), person(session, "eve", share=2)]
    room = Room("w", "default", GPUS, 4)
    live: list[Claim] = []
    endings: list[Outcome] = [DONE, Released(), Crashed(message="SIGSEGV"), Failed(code="diverged", message="NaN")]

    def claim_one() -> None:
        if found := claim(session, room._replace(free=GPUS[: chance.randint(1, 4)])):
            live.append(found)

    def settle_one() -> None:
        if live:
            attempts.settle(session, live.pop(chance.randrange(len(live))).token, chance.choice(endings), SETTINGS)

    def lose_one() -> None:
        if live:
            lost = live.pop(chance.randrange(len(live)))
            row = session.execute(select(Attempt).where(Attempt.token == lost.token)).scalar_one()
            row.lease_expires_at = func.now() - timedelta(seconds=1)
            session.flush()
            assert attempts.expire(session, SETTINGS) == [lost.job_id]

    def ask() -> None:
        unfinished = session.execute(select(Job.id).where(Job.finished_at.is_(None), Job.wanted == Wanted.RUN))
        lifecycle.__dict__[chance.choice(["pause", "cancel"])](session, chance.choice(unfinished.scalars().all()))

    for _ in range(80):
        submit(chance.choice(users), resources={"gpus": chance.choice([1, 1, 2, 4])}, priority=chance.randint(-1, 1))
        chance.choice([claim_one, claim_one, claim_one, settle_one, settle_one, lose_one, ask])()
        later(1)
        check(session)
    while live:
        settle_one()
    check(session)
    session.expire_all()
    assert {user.gpus for user in users} == {0}


def check(session: Session) -> None:
    """What must be so after each transaction."""
    session.flush()
    gpus = func.coalesce(func.sum(Attempt.gpus).filter(Attempt.ended_at.is_(None)), 0)
    rows = select(User.gpus, User.max_gpus, gpus).outerjoin(Job, Job.owner_id == User.id).outerjoin(Attempt)
    for noted, quota, counted in session.execute(rows.group_by(User.id)):
        assert noted == counted
        assert quota is None or noted <= quota
    waiting = select(Job.state, Job.wanted).where(Job.state.in_((State.QUEUED, State.PAUSED))).distinct()
    assert set(session.execute(waiting)) <= {(State.QUEUED, Wanted.RUN), (State.PAUSED, Wanted.PAUSE)}
    running = session.execute(select(Job.id).where(Job.state == State.RUNNING)).scalars().all()
    live = session.execute(select(Attempt.job_id).where(Attempt.ended_at.is_(None))).scalars().all()
    assert sorted(running) == sorted(live)


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
    assert (sequential, probes, returned) == (0, kinds + 2, 0)
    assert fetched < 10
