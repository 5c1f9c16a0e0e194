"""Real runners that lack a GPU, memory or an end: what becomes of their jobs, and of their machine."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from live_runners import LONG, STARTING, runners
from samples import DIGITS, POINTS
from sqlalchemy import select
from waiting import until

from hsu_core.training import out_of_memory
from hsu_jobs import database, lifecycle, settings
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Duty, Job, Worker
from worker.devices import Devices
from worker.supervisor import Supervisor

LARGE: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [3000, 16]},
    "regularizer": {"kind": "comhe", "dimension": 2900, "projections": 256},
    "record": {"every": 1000, "measures": []},
}
"""A job that asks for 8.9 GB in one piece."""
LONG_STEP: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [1024]},
    "regularizer": {"kind": "mhp", "inner": {"kind": "fresh", "poles": 8192, "steps": 1000}},
}
"""A job whose first step takes minutes."""


@contextmanager
def supervising(settings: Settings, *devices: str) -> Iterator[Supervisor]:
    supervisor = Supervisor(settings, name="here", devices=Devices(devices, slots_each=1))
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def kinds(job: Job) -> list[str | None]:
    return [attempt.outcome["kind"] if attempt.outcome else None for attempt in job.attempts]


def duties() -> list[Duty]:
    with database.transaction() as session:
        return list(session.execute(select(Worker.duty)).scalars())


# --- a GPU that is not there ------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(("device", "spec"), [("cuda:0", DIGITS), ("cuda:GPU-5c89852c", POINTS)], ids=["0", "GPU-…"])
def test_a_runner_without_the_gpu_that_it_was_given_is_a_fault_of_its_machine(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], device: str, spec: dict[str, Any]
) -> None:
    made = submit(spec)
    with supervising(fast, device):
        until(lambda: duties() == [Duty.EXCLUDED], seconds=5 * STARTING)
    assert kinds(job(made)) == ["faulty"] * 3
    assert job(made).state is State.QUEUED
    assert {attempt.device for attempt in job(made).attempts} == {device}
    outcome = job(made).attempts[0].outcome
    assert outcome is not None
    assert "expected 1 CUDA devices, found 0" in outcome["message"]


def test_the_result_records_the_device_that_did_the_work(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = {"training": submit(DIGITS), "points": submit(POINTS)}
    with supervising(fast, "cpu:0"):
        for kind, number in made.items():
            until(lambda number=number: job(number).state is State.SUCCEEDED, seconds=STARTING)  # type: ignore[misc]
            result = job(number).result
            assert result is not None, kind
            assert (result["device"]["type"], result["device"]["count"]) == ("cpu", 1), kind
            assert result["device"]["name"], kind
            assert result["device"]["threads"] == int(os.environ["OMP_NUM_THREADS"]), kind


# --- no memory --------------------------------------------------------------------------------------------------------


def test_a_job_that_asks_for_more_memory_than_there_is_fails_once_and_says_so(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    with supervising(fast, "cpu:0") as supervisor:
        until(runners, seconds=STARTING)
        (runner,) = runners()
        _until_it_waits(runner)
        most = runner.memory_info().vms + 2**31
        resource.prlimit(runner.pid, resource.RLIMIT_AS, (most, most))
        made = submit(**LARGE)
        supervisor.wake()
        until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert failure["code"] == "out_of_memory"
    assert kinds(job(made)) == ["failed"]


def _until_it_waits(runner: psutil.Process) -> None:
    """It has imported what it needs, and waits for its attempt: its processor time stands still."""
    until(lambda: runner.status() == psutil.STATUS_SLEEPING and runner.memory_info().rss > 100e6, seconds=STARTING)


@contextmanager
def little_memory(pid: int, more: int) -> Iterator[None]:
    """A process has so many bytes more than it has, and the kernel kills it beyond. Skips where that cannot be set."""
    group = next(path for path in out_of_memory._counters(pid) if path.name != "vmstat").parent / f"hsu-test-{pid}"
    limits = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        most = psutil.Process(pid).memory_info().rss + more
        for name in limits:
            if (group / name).exists():
                (group / name).write_text(str(most))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as error:
        pytest.skip(f"memory cannot be bounded here: {error}")
    finally:
        until(lambda: _is_removed(group), seconds=STARTING)


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("kernel_kills_alone")
def test_a_runner_that_the_kernel_killed_for_want_of_memory_is_not_tried_again(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    with supervising(fast, "cpu:0") as supervisor:
        until(runners, seconds=STARTING)
        (runner,) = runners()
        _until_it_waits(runner)
        with little_memory(runner.pid, 2**29):
            made = submit(**LARGE)
            supervisor.wake()
            until(lambda: job(made).state is State.FAILED, seconds=2 * STARTING)
            until(lambda: not runner.is_running(), seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert failure["code"] == "out_of_memory"
    assert "SIGKILL" in failure["message"]
    assert kinds(job(made)) == ["failed"]


def test_a_runner_is_a_likelier_victim_than_its_supervisor(fast: Settings) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    with supervising(fast, "cpu:0"):
        until(runners, seconds=STARTING)
        until(lambda: score(runners()[0].pid) == min(1000, score(os.getpid()) + out_of_memory.LIKELIER))


@pytest.mark.usefixtures("kernel_kills_nobody")
def test_a_runner_that_was_killed_while_the_kernel_killed_nobody_has_crashed(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG, limits={"max_attempts": 1})
    with supervising(fast, "cpu:0"):
        until(lambda: any(attempt.step for attempt in job(made).attempts), seconds=STARTING)
        for runner in runners():
            os.kill(runner.pid, signal.SIGKILL)
        until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert failure["code"] == "crashed"


# --- a step without an end --------------------------------------------------------------------------------------------


def test_a_job_inside_one_long_step_is_cancelled_within_a_heartbeat_and_the_time_to_stop(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_SHUTDOWN", "1")
    settings.settings.cache_clear()
    made = submit(**LONG_STEP)
    with supervising(settings.settings(), "cpu:0"):
        until(lambda: [attempt.begun_at for attempt in job(made).attempts if attempt.begun_at], seconds=STARTING)
        with database.transaction() as session:
            lifecycle.cancel(session, made)
        began = time.monotonic()
        until(lambda: job(made).state is State.CANCELLED, seconds=STARTING)
        assert time.monotonic() - began < 30  # of a step of minutes; 1.2 s on a quiet machine
    assert kinds(job(made)) == ["cancelled"]
