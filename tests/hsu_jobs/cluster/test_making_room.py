"""Which running jobs have to make room for one of higher priority?"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from claims import GPUS, SETTINGS, Later, Submit, claimed, machine, order, person
from samples import ROOM
from sqlalchemy import select
from sqlalchemy.orm import Session
from waiting import until

from hsu_jobs import attempts, database
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.states import Stop
from hsu_jobs.tables import Attempt, EventRow, Job, User


def running(session: Session, owner: User, submit: Submit, worker: str, *, priority: int = 0, gpus: int = 1) -> Job:
    job = submit(owner, priority=priority, resources={"gpus": gpus})
    assert claimed(session, Room(worker, "default", GPUS[:gpus], 4)).job_id == job.id
    return job


def asked_to_stop(session: Session) -> list[int]:
    session.flush()
    stopping = select(Attempt.job_id).where(Attempt.stop == Stop.PREEMPT, Attempt.ended_at.is_(None))
    return sorted(session.execute(stopping).scalars())


def test_the_lowest_priority_makes_room_and_of_equals_the_one_that_started_last(
    session: Session, owner: User, submit: Submit, later: Later
) -> None:
    machine(session, "w", gpus=3)
    made = []
    for priority in (0, -1, -1):
        made.append(running(session, owner, submit, "w", priority=priority))
        later(1)
    submit(owner, priority=5)
    session.flush()
    assert claiming.make_room(session, SETTINGS) == [made[2].id]
    assert asked_to_stop(session) == [made[2].id]
    event = session.execute(select(EventRow.event).order_by(EventRow.id.desc())).scalars().first()
    assert event == {"kind": "stopping", "attempt": 1, "why": "preempt"}


def test_a_place_that_is_being_vacated_is_not_asked_for_twice(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=2)
    made = [running(session, owner, submit, "w") for _ in range(2)]
    submit(owner, priority=5)
    session.flush()
    assert len(claiming.make_room(session, SETTINGS)) == 1
    session.flush()
    assert claiming.make_room(session, SETTINGS) == []
    submit(owner, priority=5)
    session.flush()
    assert len(claiming.make_room(session, SETTINGS)) == 1
    assert asked_to_stop(session) == sorted(job.id for job in made)


def test_nothing_is_stopped_where_there_is_room(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=1)
    running(session, owner, submit, "w")
    machine(session, "idle", gpus=1)
    submit(owner, priority=5)
    session.flush()
    assert claiming.make_room(session, SETTINGS) == []


def test_nothing_is_stopped_where_it_would_not_be_enough(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=2)
    running(session, owner, submit, "w", priority=9)
    running(session, owner, submit, "w", priority=0)
    submit(owner, priority=5, resources={"gpus": 2})
    submit(owner, priority=5, resources={"pool": "other"})
    session.flush()
    assert claiming.make_room(session, SETTINGS) == []


@pytest.mark.parametrize(
    "hold",
    [
        lambda session: claiming.make_room(session, SETTINGS),
        lambda session: workers.drain(session, "idle"),
        lambda session: attempts.claim(session, ROOM, SETTINGS),
    ],
    ids=["make room", "drain", "claim"],
)
def test_nothing_is_started_meanwhile(
    session: Session,
    owner: User,
    submit: Submit,
    is_anybody_waiting: Callable[[], bool],
    hold: Callable[[Session], object],
) -> None:
    machine(session, "idle", gpus=1)
    made = {submit(owner).id for _ in range(2)}
    session.commit()

    def other() -> int:
        with database.transaction() as own:
            return claimed(own, ROOM._replace(worker="other")).job_id

    with ThreadPoolExecutor(1) as pool:
        hold(session)
        started = pool.submit(other)
        until(is_anybody_waiting)
        session.commit()
        assert started.result(timeout=60) in made


def test_equal_priority_stops_nothing(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=1)
    running(session, owner, submit, "w", priority=5)
    submit(owner, priority=5)
    session.flush()
    assert claiming.make_room(session, SETTINGS) == []


def test_who_is_at_the_quota_stops_nobody(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=1)
    running(session, owner, submit, "w")
    submit(person(session, "bob", max_gpus=0), priority=5)
    session.flush()
    assert claiming.make_room(session, SETTINGS) == []


def test_a_job_for_several_gpus_stops_several_of_one_machine(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "one", gpus=2)
    machine(session, "two", gpus=3)
    running(session, owner, submit, "one", priority=1, gpus=2)
    lowest = [running(session, owner, submit, "two") for _ in range(3)]
    submit(owner, priority=5, resources={"gpus": 3})
    session.flush()
    assert sorted(claiming.make_room(session, SETTINGS)) == [job.id for job in lowest]


def test_a_preempted_job_waits_again_and_the_urgent_one_runs(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=1)
    low = submit(owner)
    mine = claimed(session)
    urgent = submit(owner, priority=5)
    session.flush()
    claiming.make_room(session, SETTINGS)
    session.flush()
    assert attempts.release(session, mine.token, SETTINGS).kind == "preempted"
    session.flush()
    assert order(session) == [urgent.id, low.id]
    assert low.strikes == 0
