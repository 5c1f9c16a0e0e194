"""What becomes of running jobs while the database is away?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
from live_runners import LONG, STARTING, runners, steps
from read_only import read_only
from sqlalchemy import update
from waiting import until

from hsu_jobs import database
from hsu_jobs.attempts import Claim
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Attempt, Job
from worker.devices import Devices
from worker.supervisor import Supervisor


def time_passes(length: timedelta) -> None:
    began = datetime.now(UTC)
    until(lambda: datetime.now(UTC) - began > length, seconds=STARTING)


@pytest.mark.parametrize("fault", ["away", "read-only"])
def test_a_database_that_is_away_for_all_for_longer_than_a_lease_costs_no_attempt(
    fault: str,
    fast: Settings,
    submit: Callable[..., int],
    job: Callable[[int], Job],
    closed: Callable[[], AbstractContextManager[None]],
    database_url: str,
    supervise: Callable[..., Supervisor],
) -> None:
    brief = fast.model_copy(update={"lease": timedelta(seconds=1.5)})
    supervisor = supervise(brief)
    made = submit(**LONG)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with closed() if fault == "away" else read_only(database_url):
        time_passes(brief.lease + brief.sweep)
    (reached,) = steps(job(made))
    until(lambda: steps(job(made))[0] > reached, seconds=STARTING)
    time_passes(brief.lease + 2 * brief.sweep)  # a lease in which all could have been heard, and sweeps after it
    assert [attempt.outcome for attempt in job(made).attempts] == [None]
    supervisor.stop()
    assert [attempt.outcome for attempt in job(made).attempts] == [{"kind": "released"}]


@pytest.mark.usefixtures("kernel_kills_nobody")
def test_a_runner_that_ends_while_the_database_is_away_is_settled_when_it_is_back(
    supervisor: Supervisor,
    submit: Callable[..., int],
    job: Callable[[int], Job],
    closed: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = submit(**LONG)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with closed():
        for runner in runners():
            os.kill(runner.pid, signal.SIGKILL)
        until(lambda: "its end waits, the database is away" in caplog.text, seconds=STARTING)
    until(lambda: len(job(made).attempts) == 2, seconds=STARTING)
    outcome = job(made).attempts[0].outcome
    assert outcome is not None
    assert outcome["kind"] == "crashed"


def test_a_sweep_ends_lost_attempts_only_after_a_lease_in_which_all_could_be_heard(
    claim: Claim, fast: Settings, job: Callable[[int], Job]
) -> None:
    supervisor = Supervisor(fast, name="elsewhere", devices=Devices(["cpu:0"], slots_each=1))
    with database.transaction() as session:
        session.execute(update(Attempt).values(lease_expires_at=Attempt.started_at))
    began = datetime.now(UTC)  # it does not know what was before

    def outcome() -> object:
        supervisor._sweep()
        return job(claim.job_id).attempts[0].outcome

    until(outcome, seconds=STARTING)
    assert outcome() == {"kind": "lost"}
    ended = job(claim.job_id).attempts[0].ended_at
    assert ended is not None
    assert ended - began > fast.lease - timedelta(seconds=1)
