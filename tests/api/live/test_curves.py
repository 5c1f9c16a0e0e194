"""Wakeups streams of points, from a real server process over a real Postgres and a real Redis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from samples import ROOM, TRAINED
from serving import AsUser, Seen, Serving, cancel, streaming, submit

from hsu_core.outcomes import Saved, Series
from hsu_jobs import attempts, database, settings
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.attempts import Claim
from hsu_jobs.curves import Point
from hsu_jobs.outcomes import Outcome, Released, Succeeded
from hsu_jobs.tables import Job

LOSS, ENERGY = Series(None, "loss"), Series("conv1", "mhe_s2")


def begin(*, from_checkpoint: bool = False) -> Claim:
    """Start an attempt at the job that waits, and begin it."""
    with database.transaction() as session:
        claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
    with database.transaction() as session:
        job = session.get_one(Job, claim.job_id)
        rows = checkpoints.to_resume_from(session, job) if from_checkpoint else [None]
        attempts.begin(session, claim.token, rows[0])
    return claim


def measure(claim: Claim, *steps: int, save: int | None = None, offset: float = 0.0) -> None:
    """Write the loss at these steps, and save a checkpoint."""
    points = [Point(step, 1e9 + step, {LOSS: step + offset}) for step in steps]
    state = [(Saved(save, Path("unused"), "ab", 3, None, is_best=False), f"unused/{save}")] if save else []
    with database.transaction() as session:
        attempts.progress(session, claim.token, step=max(steps), points=points, saved=state)


def settle(claim: Claim, outcome: Outcome) -> None:
    with database.transaction() as session:
        attempts.settle(session, claim.token, outcome, settings.settings())


@pytest.fixture
def claim(job: int) -> Claim:
    """The first attempt at a job, which is the only one that waits."""
    claim = begin()
    assert claim.job_id == job
    return claim


@pytest.fixture(autouse=True)
def _nothing_waits(ada: httpx2.Client) -> None:
    for waiting in ada.get("/v1/jobs", params={"state": "queued"}).json()["jobs"]:
        cancel(waiting["id"])


@contextmanager
def stream(client: httpx2.Client, job: int, *, query: str = "", after: str | None = None) -> Iterator[Iterator[Seen]]:
    with streaming(client, f"/v1/jobs/{job}/curves/stream{query}", after=after) as events:
        yield events


def table(data: dict[str, Any]) -> dict[str, list[Any]]:
    """The values of a message by their measures."""
    return {series["measure"]: values for series, values in zip(data["series"], data["values"], strict=True)}


def losses(seen: list[Seen]) -> dict[int, float]:
    """What a client holds that heeds roll-backs and minds that nothing comes twice."""
    known: dict[int, float] = {}
    for _, name, data in seen:
        if name == "rollback":
            known = {step: value for step, value in known.items() if step < data["step"]}
        if name == "points":
            assert not known.keys() & set(data["steps"])
            known |= dict(zip(data["steps"], table(data)["loss"], strict=True))
    return known


def test_points_are_sent_as_they_are_written_until_the_job_has_ended(
    ada_rung_only: httpx2.Client, claim: Claim
) -> None:
    with stream(ada_rung_only, claim.job_id) as events:
        for step in range(0, 50, 10):
            measure(claim, step, step + 5)
            place, name, data = next(events)
            assert (place, name, data["steps"]) == (f"1:{step + 5}", "points", [step, step + 5])
            assert data["times"] == [1e9 + step, 1e9 + step + 5]
            assert data["series"] == [{"layer": None, "measure": "loss"}]
            assert data["values"] == [[step, step + 5]]
        settle(claim, Succeeded(result=TRAINED))
        assert [each[1:] for each in events] == [("end", {"job": claim.job_id, "state": "succeeded"})]


def test_a_table_says_where_a_series_has_nothing_and_keeps_what_json_has_no_number_for(
    ada: httpx2.Client, claim: Claim
) -> None:
    points = [
        Point(0, 1.0, {LOSS: math.nan, ENERGY: 1.5}),
        Point(1, 2.0, {LOSS: math.inf}),
        Point(2, 3.0, {ENERGY: -math.inf}),
    ]
    with database.transaction() as session:
        attempts.progress(session, claim.token, step=2, points=points)
    settle(claim, Succeeded(result=TRAINED))
    with stream(ada, claim.job_id) as events:
        (_, _, data), _ = events
    assert (data["steps"], data["times"]) == ([0, 1, 2], [1.0, 2.0, 3.0])
    assert table(data) == {"loss": ["NaN", "Infinity", None], "mhe_s2": [1.5, None, "-Infinity"]}
    for query, measure_ in (("?layer=conv1", "mhe_s2"), ("?measure=loss", "loss")):
        with stream(ada, claim.job_id, query=query) as events:
            (_, _, data), _ = events
        assert (list(table(data)), len(data["steps"])) == ([measure_], 2)


def test_a_long_history_comes_in_pages(ada: httpx2.Client) -> None:
    job = submit(record={"every": 1})
    claim = begin()
    measure(claim, *range(1200))
    settle(claim, Succeeded(result=TRAINED))
    with stream(ada, job) as events:
        seen = list(events)
    assert [len(data["steps"]) for _, _, data in seen[:-1]] == [500, 500, 200]
    assert losses(seen) == {step: step for step in range(1200)}


def test_an_attempt_that_goes_on_from_a_checkpoint_makes_void_what_came_after_it(
    ada: httpx2.Client, claim: Claim
) -> None:
    with stream(ada, claim.job_id) as events:
        measure(claim, 0, 10, 20, 30, save=20)
        seen = [next(events)]
        settle(claim, Released())
        again = begin(from_checkpoint=True)
        seen.append(next(events))
        assert seen[-1] == ("2:19", "rollback", {"attempt": 2, "step": 20})
        measure(again, 20, 30, 40, offset=0.5)
        settle(again, Succeeded(result=TRAINED))
        seen += events
    assert losses(seen) == {0: 0, 10: 10, 20: 20.5, 30: 30.5, 40: 40.5}
    with stream(ada, claim.job_id, after="1:30") as events:
        late = list(events)
    assert [name for _, name, _ in late] == ["rollback", "points", "end"]
    assert losses([seen[0], *late]) == losses(seen)
    with stream(ada, claim.job_id, after="1:10") as events:
        assert [name for _, name, _ in events] == ["points", "end"]


def test_an_attempt_that_has_started_but_not_begun_makes_nothing_void(ada: httpx2.Client, claim: Claim) -> None:
    measure(claim, 0, 10)
    settle(claim, Released())
    with database.transaction() as session:
        again = attempts.claim(session, ROOM, settings.settings())
    assert again is not None
    with stream(ada, claim.job_id) as events:
        assert next(events)[0] == "1:10"
        with database.transaction() as session:
            attempts.begin(session, again.token, None)
        assert next(events) == ("2:-1", "rollback", {"attempt": 2, "step": 0})
        settle(again, Succeeded(result=TRAINED))
        assert next(events)[1] == "end"


def test_readers_that_break_off_at_random_hold_the_curve_in_the_end(ada: httpx2.Client, claim: Claim) -> None:
    """While it is written, and rolled back twice."""

    def read(patience: int) -> list[Seen]:
        seen: list[Seen] = []
        while not seen or seen[-1][1] != "end":
            with stream(ada, claim.job_id, after=seen[-1][0] if seen else None) as events:
                seen += [event for event, _ in zip(events, range(patience), strict=False)]
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, patience) for patience in (1, 2, 10**6)]
        mine, at = claim, 0
        for number in range(3):
            for step in range(at, at + 100, 4):
                measure(mine, step, step + 2, save=step if step % 20 == 0 else None, offset=number / 10)
            if number < 2:
                settle(mine, Released())
                mine, at = begin(from_checkpoint=True), at + 80
        settle(mine, Succeeded(result=TRAINED))
        for reader in readers:
            seen = reader.result(timeout=120)
            expected = {step: step + min(step // 80, 2) / 10 for step in range(0, 260, 2)}
            assert losses(seen) == expected


@pytest.mark.parametrize("place", ["x", "3", "1:", ":1", "1:-2", "1:1.5", "2:0", "", "1:99999999999999999999"])
def test_a_place_that_the_stream_never_sent_is_refused(ada: httpx2.Client, claim: Claim, place: str) -> None:
    answer = ada.get(f"/v1/jobs/{claim.job_id}/curves/stream", headers={"Last-Event-ID": place})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "Last-Event-ID: expected `attempt:step` as this stream sent it, found" in answer.json()["detail"]
    settle(claim, Released())


def test_problems_come_before_the_stream(server: Serving, ada: httpx2.Client, claim: Claim, as_user: AsUser) -> None:
    with as_user(server, "bo") as bo:
        assert bo.get(f"/v1/jobs/{claim.job_id}/curves/stream").status_code == 404
    measure(claim, 0)
    settle(claim, Succeeded(result=TRAINED))
    answer = ada.get(f"/v1/jobs/{claim.job_id}/curves/stream", params={"measure": "lost"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_series_that_is_not_there_yet_is_waited_for(ada: httpx2.Client, claim: Claim) -> None:
    with stream(ada, claim.job_id, query="?measure=loss") as events:
        measure(claim, 0)
        assert next(events)[2]["steps"] == [0]
    settle(claim, Released())
    assert submit()
