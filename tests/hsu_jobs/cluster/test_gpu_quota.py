"""Are a user's GPUs in use counted right, and never more than their quota?"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from claims import DONE, GPUS, SETTINGS, Later, Submit, claim, person
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.outcomes import Crashed, Failed, Outcome, Released
from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import Attempt, Job, User


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
