"""What makes a supervisor end a running job, and what becomes of the job then?"""

from __future__ import annotations

import time
from collections.abc import Callable

from live_runners import LONG, STARTING, runners, steps
from sqlalchemy import update
from waiting import until

from hsu_jobs import attempts, database, lifecycle
from hsu_jobs.cluster import workers
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import Attempt, Job
from worker.supervisor import Supervisor


def test_a_running_job_is_cancelled_soon_after_its_owner_asked(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with database.transaction() as session:
        lifecycle.cancel(session, made)
    until(lambda: job(made).state is State.CANCELLED)


def test_a_supervisor_that_stops_gives_its_jobs_back(
    fast: Settings, submit: Callable[..., int], job: Callable[[int], Job], supervise: Callable[..., Supervisor]
) -> None:
    made = submit(**LONG)
    supervisor = supervise(fast)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    supervisor.stop()
    assert job(made).state is State.QUEUED
    assert [attempt.outcome for attempt in job(made).attempts] == [{"kind": "released"}]
    assert runners() == []


def test_a_runner_whose_lease_was_lost_is_killed_and_overrules_nobody(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job], fast: Settings
) -> None:
    until(runners, seconds=STARTING)
    (training,) = runners()  # a spare, which takes the next attempt
    made = submit(**LONG, limits={"max_attempts": 1})
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with database.transaction() as session:
        session.execute(update(Attempt).values(lease_expires_at=Attempt.started_at))
        assert attempts.expire(session, fast) == [made]  # in one transaction, so that no heartbeat comes between
    until(lambda: training not in runners())
    assert job(made).state is State.FAILED


def test_a_job_that_hangs_is_ended_and_tried_again(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG, limits={"stall": 60, "max_attempts": 1})
    until(lambda: any(steps(job(made))), seconds=STARTING)
    for runner in runners():
        runner.suspend()
    until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert failure["code"] == "stalled"
    assert "no further step within 60 s (limits.stall)" in failure["message"]


def test_a_higher_priority_sends_a_running_job_back_to_the_queue(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    low = submit(**LONG)
    until(lambda: any(steps(job(low))), seconds=STARTING)
    high = submit(priority=5)
    until(lambda: job(high).state is State.SUCCEEDED, seconds=STARTING)
    until(lambda: len(job(low).attempts) == 2, seconds=STARTING)
    assert [attempt.outcome and attempt.outcome["kind"] for attempt in job(low).attempts] == ["preempted", None]


def test_a_job_past_its_deadline_is_stopped(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG, limits={"deadline": 6})
    until(lambda: job(made).state is State.FAILED, seconds=STARTING)
    failure = job(made).failure
    assert failure is not None
    assert failure["code"] == "deadline"


def test_a_drained_worker_gives_its_jobs_back_and_takes_no_more(
    supervisor: Supervisor, submit: Callable[..., int], job: Callable[[int], Job]
) -> None:
    made = submit(**LONG)
    until(lambda: any(steps(job(made))), seconds=STARTING)
    with database.transaction() as session:
        workers.drain(session, "here", now=True)
    until(lambda: job(made).state is State.QUEUED)
    time.sleep(1)  # several looks at the queue
    assert job(made).state is State.QUEUED
    with database.transaction() as session:
        workers.restore(session, "here")
    until(lambda: job(made).state is State.RUNNING)
