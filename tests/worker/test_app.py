"""The two tasks, called as Celery calls them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import update

from hsu_jobs import database, queue
from hsu_jobs.lifecycle import Claim
from hsu_jobs.states import State
from hsu_jobs.tables import Attempt, Job


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The sweep, of an app that reads this test's settings."""
    from worker import app

    monkeypatch.setattr(app, "app", queue.celery())
    return app.sweep


def test_the_sweep_rings_for_every_job_that_waits(
    submit: Callable[..., int], tasks: Callable[[], None], redis_url: str
) -> None:
    waiting = {submit(), submit()}
    tasks()
    queue.celery().close()
    with Redis.from_url(redis_url) as redis:
        messages = [json.loads(message) for message in redis.lrange("hsu", 0, -1)]
    assert {message["headers"]["task"] for message in messages} == {queue.RING}
    assert {message["headers"]["argsrepr"] for message in messages} == {f"({job},)" for job in waiting}


def test_the_sweep_ends_attempts_whose_lease_has_run_out(
    claim: Claim, tasks: Callable[[], None], job: Callable[[int], Job]
) -> None:
    with database.transaction() as session:
        session.execute(update(Attempt).values(lease_expires_at=Attempt.started_at))
    tasks()
    queue.celery().close()
    assert job(claim.job_id).state is State.QUEUED
    assert [attempt.outcome for attempt in job(claim.job_id).attempts] == [{"kind": "lost"}]
