"""A Redis that refuses, or is away, ends neither worker nor beat nor the bell, and is heard again when it is back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from receiving import receiver, said
from redis.exceptions import RedisError
from refusals import WAYS, OwnRedis
from waiting import until

from embedded.up import commands
from hsu_jobs import database, doorbell, lifecycle, queries, settings
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Job
from hsu_jobs.webhooks import subscriptions
from worker.webhook_pool import Dispatcher

STARTING = 300
NODE = "node@here"
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def hears(url: str) -> bool:
    """Whether the Celery worker answers a message."""
    with (
        suppress(RedisError, OperationalError),
        Celery(broker=doorbell.broker_url(url), set_as_current=False) as caller,
    ):
        return bool(caller.control.ping(destination=[NODE], timeout=0.5, limit=1))
    return False


def test_worker_and_beat_go_on_whatever_redis_answers_and_hear_it_again(
    own: OwnRedis, fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], tmp_path: Path
) -> None:
    environment = fast.environment() | {"HSU_REDIS_URL": own.url}
    logs = {role: tmp_path / f"{role}.log" for role in ("worker", "beat")}
    with ExitStack() as undo:
        running: dict[str, Process] = {}
        for role, log in logs.items():
            command = [sys.executable, "-m", *commands(tmp_path, 0, NODE)[role]]
            output = undo.enter_context(log.open("ab"))
            running[role] = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
            undo.callback(running[role].wait)
            undo.callback(running[role].terminate)
        until(lambda: hears(own.url), seconds=STARTING)

        for name, (refuse, take_again) in WAYS.items():
            refuse(own)
            made = submit(name=name)
            until(lambda made=made: job(made).attempts, seconds=STARTING)  # found by asking the database
            with database.transaction() as session:
                lifecycle.cancel(session, made)
            take_again(own)
            until(lambda: hears(own.url), seconds=STARTING)
            assert [process.poll() for process in running.values()] == [None, None], name

        (listener,) = (
            child for child in psutil.Process(running["worker"].pid).children() if "worker" in child.cmdline()
        )
        os.kill(listener.pid, signal.SIGKILL)
        until(lambda: hears(own.url), seconds=STARTING)
        assert running["worker"].poll() is None
    assert all(process.returncode == 0 for process in running.values())
    told = "".join(log.read_text() for log in logs.values())
    assert "the Celery worker ended (status -9); it is started again in 1 s" in told
    assert len(told) < 100_000, "whoever is away is told of once in a while"


@pytest.mark.parametrize("way", WAYS)
def test_a_ring_that_redis_refuses_is_a_warning_and_the_next_one_after_a_rest_is_heard(
    own: OwnRedis, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", own.url)
    monkeypatch.setattr(doorbell, "REST", 0.0)
    settings.settings.cache_clear()
    doorbell.celery.cache_clear()
    refuse, take_again = WAYS[way]
    assert doorbell.ring(1)
    refuse(own)
    try:
        assert not doorbell.ring(2) or way == "MASTERDOWN"
    finally:
        take_again(own)
    until(lambda: doorbell.ring(3))
    assert "job 2 waits, but Redis does not take it" in caplog.text
    doorbell.celery().close()


def test_a_webhook_gets_its_messages_without_redis(
    fast: Settings, submit: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("HSU_WEBHOOK_ALLOW", "127.0.0.1")
    for cached in (settings.settings, doorbell.celery):
        cached.cache_clear()
    with receiver(said(200)) as there:
        submit(resources={"pool": "elsewhere"})
        with database.transaction() as session:
            owner = session.execute(queries.user_by_name("ada")).scalar_one()
            webhook = subscriptions.create(
                session, owner, url=there.url, events=["failed"], settings=settings.settings()
            )
            subscriptions.ping(session, webhook)
        dispatcher = Dispatcher(settings.settings())
        dispatcher.start()
        until(lambda: there.received, seconds=STARTING)
        dispatcher.stop()
