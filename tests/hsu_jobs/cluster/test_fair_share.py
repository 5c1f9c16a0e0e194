"""Does each user get GPUs in proportion to their share, whatever they used before?"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from claims import DONE, SETTINGS, Later, Submit, claimed, order, person
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from hsu_jobs import attempts
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import Job, User


def test_who_used_less_goes_first(session: Session, owner: User, submit: Submit) -> None:
    bob = person(session, "bob")
    owner.usage, bob.usage = 2.0, 1.0
    hers, his = submit(owner), submit(bob)
    assert order(session) == [his.id, hers.id]


def test_used_time_fades(session: Session, owner: User, submit: Submit) -> None:
    bob = person(session, "bob")
    owner.usage, bob.usage = 100.0, 60.0
    owner.usage_at = func.now() - SETTINGS.usage_half_life
    hers, his = submit(owner), submit(bob)
    assert order(session) == [hers.id, his.id]


def simulated(
    session: Session, later: Later, *, slots: int, seconds: Callable[[], float], until: Callable[[], bool]
) -> None:
    """Run what is queued on so many slots, each job for its seconds, until the end."""
    running: list[tuple[float, Claim]] = []
    clock = 0.0
    while not until():
        while len(running) < slots and not until():
            later(0.001)  # no two claims have the same instant
            running.append((clock + seconds(), claimed(session)))
        running.sort(key=lambda one: one[0])
        end, first = running.pop(0)
        later(end - clock)
        clock = end
        attempts.settle(session, first.token, DONE, SETTINGS)


def waiting(session: Session, user: User) -> int:
    return session.execute(select(func.count()).where(Job.owner_id == user.id, Job.state == "queued")).scalar_one()


def used(session: Session, user: User) -> float:
    """GPU seconds; the half-life is a day, so that an hour hardly fades."""
    question = select(func.usage_now(User.usage, User.gpus, User.usage_at, SETTINGS.usage_half_life.total_seconds()))
    return float(session.execute(question.where(User.id == user.id)).scalar_one())


@pytest.mark.parametrize("seed", range(2))
def test_two_users_with_equal_shares_each_get_half_while_both_wait(
    session: Session, owner: User, submit: Submit, later: Later, seed: int
) -> None:
    bob, chance = person(session, "bob"), random.Random(seed)
    for user, jobs in ((owner, 100), (bob, 10)):
        for _ in range(jobs):
            submit(user)
    simulated(session, later, slots=2, seconds=lambda: chance.uniform(8, 12), until=lambda: waiting(session, bob) == 0)
    hers, his = used(session, owner), used(session, bob)
    assert his / (hers + his) == pytest.approx(0.5, rel=0.1)
    assert waiting(session, owner) > 80


def test_three_times_the_share_gets_three_times_the_gpus(
    session: Session, owner: User, submit: Submit, later: Later
) -> None:
    big, chance = person(session, "big", share=3), random.Random(0)
    for user in (owner, big):
        for _ in range(50):
            submit(user)
    simulated(session, later, slots=2, seconds=lambda: chance.uniform(8, 12), until=lambda: waiting(session, big) == 0)
    assert used(session, big) / used(session, owner) == pytest.approx(3, rel=0.1)


def test_usage_is_the_integral_of_gpus_in_use_that_fade(session: Session) -> None:
    half_life, rate, usage = 3600.0, np.log(2) / 3600, 17.0
    numeric, steps = 17.0, 100_000
    for gpus, seconds in ((2, 500.0), (0, 4000.0), (5, 7200.0), (1, 0.0), (3, 60.0)):
        question = "SELECT usage_now(:usage, :gpus, now() - make_interval(secs => :seconds), :half_life)"
        values = {"usage": usage, "gpus": gpus, "seconds": seconds, "half_life": half_life}
        usage = float(session.execute(text(question), values).scalar_one())
        step = seconds / steps
        for _ in range(steps):  # the midpoint rule for du/dt = gpus - rate * u
            middle = numeric + step / 2 * (gpus - rate * numeric)
            numeric += step * (gpus - rate * middle)
        assert usage == pytest.approx(numeric, rel=1e-9)
