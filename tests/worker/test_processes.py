"""Celery workers and beat as real processes: killed, stopped, and deprived of every message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from live_runners import STARTING, runners
from proxy import road_to_postgres
from redis import Redis
from waiting import until

from embedded.up import commands
from hsu_jobs import attempts, curves, database, doorbell, lifecycle, queries, settings
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Job

Process = subprocess.Popen[bytes]
TRAINING = {"duration": {"steps": 600}, "record": {"every": 20, "measures": ["mhe_s2"]}}


@pytest.fixture
def start(fast: Settings, tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Start `worker` or `beat` as the containers do; what still runs at the end is stopped."""
    with ExitStack() as undo:

        def started(role: str) -> Process:
            command = [sys.executable, "-m", *commands(tmp_path, 0, "node@here")[role]]
            log = undo.enter_context((tmp_path / f"{role}.log").open("ab"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env=settings.settings().environment())
            undo.callback(process.wait)
            undo.callback(process.terminate)
            return process

        yield started


def outcomes(job: Job) -> list[str]:
    return [attempt.outcome["kind"] for attempt in job.attempts if attempt.outcome]


def test_a_worker_killed_while_it_trains_loses_no_job(
    start: Callable[[str], Process], submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**TRAINING)
    worker = start("worker")
    until(lambda: any(attempt.step for attempt in job(made).attempts), seconds=STARTING)
    training = runners(worker.pid)
    assert training
    os.kill(worker.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(training, timeout=5)
    assert alive == []

    start("beat")
    start("worker")
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
    assert outcomes(job(made)) == ["lost", "succeeded"]
    with database.transaction() as session:
        (loss,) = curves.read(session, made, measures=["loss"])
    assert loss.steps.tolist() == list(range(0, 601, 20))


def test_redis_emptied_between_submit_and_start_loses_no_job(
    start: Callable[[str], Process], submit: Callable[..., int], job: Callable[[int], Job], redis_url: str
) -> None:
    made = submit()
    doorbell.ring(made)
    with Redis.from_url(redis_url) as redis:
        assert redis.dbsize() > 0
        redis.flushdb()
    doorbell.celery().close()
    start("worker")
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)


def test_a_message_that_comes_ten_times_makes_one_attempt(
    start: Callable[[str], Process], submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit()
    for _ in range(10):
        doorbell.ring(made)
    doorbell.celery().close()
    start("worker")
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
    assert outcomes(job(made)) == ["succeeded"]


def test_a_worker_that_is_stopped_gives_its_job_back(
    start: Callable[[str], Process], submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(duration={"steps": 10**6}, record={"every": 20, "measures": []})
    worker = start("worker")
    until(lambda: any(attempt.step for attempt in job(made).attempts), seconds=STARTING)
    training = runners(worker.pid)
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    assert job(made).state is State.QUEUED
    assert outcomes(job(made)) == ["released"]
    with database.transaction() as session:
        saved = session.execute(queries.checkpoints_of(made)).scalars().all()
    assert max(row.step for row in saved) == job(made).attempts[0].step > 0
    assert [runner for runner in training if runner.is_running()] == []


def test_a_worker_that_alone_is_cut_off_from_the_database_loses_its_job_and_takes_it_up_again(
    start: Callable[[str], Process],
    submit: Callable[..., int],
    job: Callable[[int], Job],
    fast: Settings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = submit(duration={"steps": 10**6}, record={"every": 20, "measures": []})
    with road_to_postgres(database_url) as (road, over):
        with monkeypatch.context() as there:
            there.setenv("HSU_DATABASE_URL", over)
            settings.settings.cache_clear()
            worker = start("worker")
        settings.settings.cache_clear()
        until(lambda: any(attempt.step for attempt in job(made).attempts), seconds=STARTING)
        training = runners(worker.pid)
        road.cut()
        until(lambda: is_found_lost(fast), seconds=STARTING)  # by us, as another worker
        assert job(made).state is State.QUEUED
        assert training
        assert all(runner.is_running() for runner in training)  # it cannot know whether others reach the database
        road.mend()
        until(lambda: len(job(made).attempts) == 2 and job(made).attempts[1].step, seconds=STARTING)
        assert outcomes(job(made)) == ["lost"]
        worker.terminate()
        assert worker.wait(timeout=STARTING) == 0
    assert outcomes(job(made)) == ["lost", "released"]


@pytest.mark.slow
def test_an_attempt_survives_a_database_that_takes_two_seconds_a_round_trip(
    start: Callable[[str], Process],
    submit: Callable[..., int],
    job: Callable[[int], Job],
    fast: Settings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = submit(duration={"steps": 10**6}, record={"every": 20, "measures": []})
    with road_to_postgres(database_url) as (road, over):
        with monkeypatch.context() as there:
            for name, value in {"DATABASE_URL": over, "LEASE": "30", "HEARTBEAT": "5"}.items():
                there.setenv(f"HSU_{name}", value)
            settings.settings.cache_clear()
            worker = start("worker")
        settings.settings.cache_clear()
        until(lambda: any(attempt.step for attempt in job(made).attempts), seconds=STARTING)
        road.delay = 2.0
        before = job(made).attempts[0].step or 0
        for _ in range(75):  # two and a half leases
            time.sleep(1)
            assert not is_found_lost(fast)
        assert (job(made).attempts[0].step or 0) > before
        with database.transaction() as session:
            lifecycle.cancel(session, made)
        until(lambda: job(made).state is State.CANCELLED, seconds=STARTING)
        road.delay = 0.0
        worker.terminate()
        assert worker.wait(timeout=STARTING) == 0
    assert outcomes(job(made)) == ["cancelled"]


def is_found_lost(fast: Settings) -> bool:
    with database.transaction() as session:
        return bool(attempts.expire(session, fast))


@pytest.mark.parametrize("task", [doorbell.SWEEP, doorbell.POST])
def test_beat_asks_for_what_nobody_may_have_rung_for(
    start: Callable[[str], Process], fast: Settings, redis_url: str, task: str
) -> None:
    start("beat")
    with Redis.from_url(redis_url) as redis:
        until(lambda: any(task.encode() in message for message in redis.lrange("hsu", 0, -1)), seconds=STARTING)


@pytest.mark.slow
def test_a_job_of_a_minute_runs_once_though_redis_repeats_messages_after_five_seconds(
    start: Callable[[str], Process],
    submit: Callable[..., int],
    job: Callable[[int], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HSU_REDIS_VISIBILITY", "5")
    settings.settings.cache_clear()
    for _ in range(2):
        start("worker")
    start("beat")
    made = submit(duration={"steps": 10**6}, record={"every": 100, "measures": []})
    doorbell.ring(made)
    until(lambda: job(made).state is State.RUNNING, seconds=STARTING)
    time.sleep(60)
    with database.transaction() as session:
        lifecycle.cancel(session, made)
    until(lambda: job(made).state is State.CANCELLED, seconds=STARTING)
    assert outcomes(job(made)) == ["cancelled"]
