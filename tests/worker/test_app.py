"""The tasks, called as Celery calls them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from redis import Redis

from hsu_jobs import database, doorbell, queries
from hsu_jobs.settings import Settings
from hsu_jobs.webhooks import subscriptions


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The sweep, of an app that reads this test's settings."""
    from worker import app

    monkeypatch.setattr(app, "app", doorbell.celery())
    return app.sweep


def test_the_sweep_rings_for_every_job_that_waits(
    submit: Callable[..., int], tasks: Callable[[], None], redis_url: str
) -> None:
    waiting = {submit(), submit()}
    tasks()
    doorbell.celery().close()
    with Redis.from_url(redis_url) as redis:
        messages = [json.loads(message) for message in redis.lrange("hsu", 0, -1)]
    assert {message["headers"]["task"] for message in messages} == {doorbell.RING}
    assert {message["headers"]["argsrepr"] for message in messages} == {f"({job},)" for job in waiting}


@pytest.fixture
def hook(submit: Callable[..., int], fast: Settings) -> Callable[[str], int]:
    """Makes a webhook of ada's with a ping on its way."""

    def made(url: str) -> int:
        submit()
        with database.transaction() as session:
            owner = session.execute(queries.user_by_name("ada")).scalar_one()
            opened = fast.model_copy(update={"webhook_allow": ("127.0.0.1",)})
            webhook = subscriptions.create(session, owner, url=url, events=["failed"], settings=opened)
            subscriptions.ping(session, webhook)
            return webhook.id

    return made


@pytest.mark.usefixtures("tasks")
def test_the_round_rings_for_every_webhook_that_has_messages(hook: Callable[[str], int], redis_url: str) -> None:
    from worker import app

    webhook = hook("http://127.0.0.1:9000/")
    app.post()
    doorbell.celery().close()
    with Redis.from_url(redis_url) as redis:
        (message,) = [json.loads(message) for message in redis.lrange("hsu", 0, -1)]
    assert (message["headers"]["task"], message["headers"]["argsrepr"]) == (doorbell.CARRY, f"({webhook},)")


@pytest.mark.usefixtures("tasks")
def test_a_doorbell_only_wakes_who_chooses_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker import app

    woken: list[bool] = []
    monkeypatch.setattr(app.wakeup_pipe, "press", lambda: woken.append(True))
    app.carry(7)
    assert woken == [True]
