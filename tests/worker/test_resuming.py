"""Where does a job go on after its runner was killed, it was paused, or it was forked?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from live_runners import LONG, STARTING, runners, steps
from safetensors.torch import load_file
from sqlalchemy.orm import joinedload
from waiting import until

from hsu_jobs import curves, database, lifecycle
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Job
from worker.supervisor import Supervisor


@pytest.mark.usefixtures("kernel_kills_nobody")
def test_a_runner_that_is_killed_is_tried_again_and_ends_well(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(duration={"steps": 400}, record={"every": 20, "measures": ["mhe_s2"]})
    until(lambda: any(steps(job(made))), seconds=STARTING)
    for runner in runners():
        os.kill(runner.pid, signal.SIGKILL)
    until(lambda: job(made).state is State.SUCCEEDED, seconds=STARTING)
    crashed, succeeded = job(made).attempts
    assert crashed.outcome is not None
    assert "SIGKILL" in crashed.outcome["message"]
    assert succeeded.outcome is not None
    assert succeeded.outcome["kind"] == "succeeded"
    with database.transaction() as session:
        (loss,) = curves.read(session, made, measures=["loss"])
    assert loss.steps.tolist() == [*range(0, 400, 20), 400]


@pytest.mark.parametrize(
    "regularizer",
    [
        {"kind": "mhe"},
        pytest.param({"kind": "mhp", "inner": {"kind": "authors"}}, marks=pytest.mark.slow),
        pytest.param({"kind": "comhe", "projection": "adversarial"}, marks=pytest.mark.slow),
    ],
    ids=["mhe", "mhp", "comhe"],
)
@pytest.mark.usefixtures("kernel_kills_nobody")
def test_an_interrupted_job_ends_with_the_weights_of_one_that_was_not(
    supervisor: Supervisor,
    submit: Callable[..., int],
    job: Callable[[int], Job],
    fast: Settings,
    regularizer: dict[str, Any],
) -> None:
    def has_gone_further(made: int, number: int) -> bool:
        """Whether the attempt of this number has passed a checkpoint of its own."""
        last = job(made).attempts[-1:]
        return bool(last) and last[0].number == number and last[0].step > (last[0].resumed_from or 0) + 50

    long = {"duration": {"steps": 800}, "checkpoint": {"every": 50}, "record": {"every": 25, "measures": ["mhe_s2"]}}
    long |= {"regularizer": regularizer, "augment": "crop_flip"}
    broken = submit(**long, limits={"max_attempts": 50})
    for number in range(1, 6):
        until(partial(has_gone_further, broken, number), seconds=STARTING)
        for runner in runners():
            os.kill(runner.pid, signal.SIGKILL)
    until(lambda: job(broken).state is State.SUCCEEDED, seconds=STARTING)
    whole = submit(**long)
    until(lambda: job(whole).state is State.SUCCEEDED, seconds=STARTING)
    assert sum(bool(attempt.resumed_from) for attempt in job(broken).attempts) >= 5
    weights = [load_file(max(fast.artifacts_dir.glob(f"jobs/{made}/*/step-000000800.*"))) for made in (broken, whole)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    with database.transaction() as session:
        found = [
            {curve[:2]: (curve.steps.tolist(), curve.values.tolist()) for curve in curves.read(session, made)}
            for made in (broken, whole)
        ]
    assert found[0] == found[1]


def test_a_job_goes_on_from_where_its_owner_paused_it(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with database.transaction() as session:
        lifecycle.pause(session, made)
    until(lambda: job(made).state is State.PAUSED)
    with database.transaction() as session:
        lifecycle.resume(session, made)
    until(lambda: len(job(made).attempts) == 2 and job(made).attempts[1].resumed_from, seconds=STARTING)
    first, second = job(made).attempts
    assert first.outcome == {"kind": "paused"}
    assert second.resumed_from == first.step
    with database.transaction() as session:
        lifecycle.cancel(session, made)
    until(lambda: job(made).state is State.CANCELLED)


def test_a_fork_goes_on_from_its_parents_checkpoint_and_fails_without_it(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    parent = submit(duration={"steps": 40}, record={"every": 10})
    until(lambda: job(parent).state is State.SUCCEEDED, seconds=STARTING)

    def fork() -> int:
        with database.transaction() as session:
            owner = session.get_one(Job, parent, options=[joinedload(Job.owner)]).owner
            return lifecycle.fork(session, parent, owner=owner, change={"duration": {"steps": 60}}).id

    whole = fork()
    until(lambda: job(whole).state is State.SUCCEEDED, seconds=STARTING)
    assert [attempt.resumed_from for attempt in job(whole).attempts] == [40]
    with database.transaction() as session:
        (loss,) = curves.read(session, whole, measures=["loss"])
    assert loss.steps.tolist() == [0, 10, 20, 30, 40, 50, 60]
    (file,) = fast.artifacts_dir.glob(f"jobs/{parent}/*/step-000000040.*")
    file.write_bytes(file.read_bytes()[:-1])
    broken = fork()
    until(lambda: job(broken).state is State.FAILED, seconds=STARTING)
    failure = job(broken).failure
    assert failure is not None
    assert failure["code"] == "checkpoint_damaged"


@pytest.mark.usefixtures("kernel_kills_nobody")
def test_a_job_starts_from_the_weights_of_another_ones_checkpoint(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    record = {"every": 30, "measures": ["mhe_s2"]}
    first = submit(duration={"steps": 30}, record=record)
    until(lambda: job(first).state is State.SUCCEEDED, seconds=STARTING)
    second = submit(duration={"steps": 5}, record=record, initial={"kind": "job", "job": first, "step": 30})
    until(lambda: job(second).state is State.SUCCEEDED, seconds=STARTING)
    with database.transaction() as session:
        before, after = (curves.read(session, made, measures=["mhe_s2"]) for made in (first, second))
        ends = {curve.layer: curve.values[-1] for curve in before}
        begins = {curve.layer: curve.values[0] for curve in after}
    assert ends == begins
