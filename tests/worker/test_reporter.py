"""Curves on their way to Postgres: batched, fenced, written once, kept while the database is away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from waiting import until

from hsu_core.outcomes import Reference, Series
from hsu_jobs import attempts, curves, database, lifecycle, queries
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Crashed
from hsu_jobs.settings import Settings
from hsu_jobs.states import Wanted
from hsu_jobs.tables import Job
from worker import reporter as reporter_module
from worker.reporter import Reporter

LOSS, TEST = Series(None, "loss"), Series(None, "test_accuracy")


def steps(job_id: int) -> list[int]:
    with Session(database.engine()) as session:
        return [step for curve in curves.read(session, job_id) for step in curve.steps.tolist()]


def test_everything_is_written_when_the_reporter_closes(claim: Claim) -> None:
    with Reporter(claim.token, flush_seconds=60) as reporter:
        for step in range(5):
            reporter.report(step, {LOSS: float(step)})
    assert steps(claim.job_id) == [0, 1, 2, 3, 4]


def test_layers_that_are_left_out_are_one_event_however_often_a_write_is_repeated(claim: Claim) -> None:
    left_out = {"hidden1": "has a single neuron: there is no pair to spread"}
    with Reporter(claim.token, flush_seconds=60) as reporter:
        reporter.skipped(left_out)
    for layers in (left_out, {}, left_out | {"hidden2": "is too small"}):
        with database.transaction() as session:
            attempts.progress(session, claim.token, step=0, skipped=layers)
    with database.transaction() as session:
        rows = session.execute(queries.events_of(claim.job_id, after=0, limit=100)).scalars()
        told = [row.event["layers"] for row in rows if row.event["kind"] == "skipped"]
    assert told == [left_out, left_out | {"hidden2": "is too small"}]


def test_points_are_written_while_the_training_goes_on(claim: Claim, job: Callable[[int], Job]) -> None:
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        reporter.report(7, {LOSS: 1.0})
        until(lambda: steps(claim.job_id) == [7])
    assert job(claim.job_id).attempts[0].step == 7


def test_the_owners_wish_comes_back(claim: Claim) -> None:
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        with database.transaction() as session:
            lifecycle.cancel(session, claim.job_id)
        until(lambda: reporter.desired.wanted is Wanted.CANCEL)


def test_an_attempt_that_is_no_longer_ours_writes_nothing(claim: Claim, fast: Settings) -> None:
    with database.transaction() as session:
        attempts.settle(session, claim.token, Crashed(message="SIGSEGV"), fast)
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        reporter.report(0, {LOSS: 1.0})
        until(lambda: reporter.lost)
    assert steps(claim.job_id) == []


def test_points_wait_while_the_database_is_away(
    claim: Claim, closed: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        reporter.report(0, {LOSS: 1.0})
        with closed():
            reporter.report(1, {LOSS: 2.0})
            until(lambda: "points wait" in caplog.text)
            reporter.report(2, {LOSS: 3.0})
    assert steps(claim.job_id) == [0, 1, 2]


def test_what_is_too_much_for_memory_waits_on_the_disk_and_arrives_in_order(
    claim: Claim,
    closed: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(reporter_module, "IN_MEMORY", 2)
    with Reporter(claim.token, flush_seconds=0.05, folder=tmp_path) as reporter:
        with closed():
            for step in range(50):
                reporter.report(step, {LOSS: step / 3} | ({TEST: 1.0} if step % 7 == 0 else {}))
                time.sleep(0.005)
            until(lambda: re.search("wait, and [1-9]", caplog.text))
        until(lambda: steps(claim.job_id)[:50] == list(range(50)))
    assert steps(claim.job_id) == [*range(50), *range(0, 50, 7)]


def test_references_arrive_with_the_points_also_after_the_database_was_away(
    claim: Claim, closed: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    energy = Series("conv1", "mhe_s2")
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        with closed():
            reporter.describe({energy: Reference(0.5, 0.45)})
            reporter.report(0, {energy: 0.6})
            until(lambda: "points wait" in caplog.text)
        reporter.report(1, {energy: 0.55})
    with Session(database.engine()) as session:
        (curve,) = curves.read(session, claim.job_id)
    assert (curve.values.tolist(), curve.reference) == ([0.6, 0.55], Reference(0.5, 0.45))


def test_curves_that_cannot_be_written_end_the_attempt(claim: Claim, caplog: pytest.LogCaptureFixture) -> None:
    with Reporter(claim.token, flush_seconds=0.05) as reporter:
        reporter.report(2**70, {LOSS: 1.0})  # no step that a bigint holds
        until(lambda: reporter.lost)
    assert "the curves cannot be written" in caplog.text
