"""Large answers: the same bytes as ever, made in turns, bounded for each user, and ended with their clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from samples import DIGITS

from api.middleware.request_state import begin
from api.routes import curves as routes
from api.streams import large_responses
from api.streams.access import REVOKED, AccessWatch
from api.streams.large_responses import Download, LargeJson, LargeResponses
from api.views import curve_json
from api.views.curve_formats import CurvesView, CurveView
from hsu_core.outcomes import Reference, Series
from hsu_jobs import curves, database
from hsu_jobs.curves import Choice, Curve, Point
from hsu_jobs.errors import TooManyRequests

LOSS, ENERGY, RARE = Series(None, "loss"), Series("hidden_1", "mhe_s2"), Series("hidden_1", "rare")
ODD = [0.1, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1.7976931348623157e308, 1 / 3, 1e22, 100.0]


@pytest.fixture
def job(ada: TestClient) -> int:
    """A job with three curves of different lengths, in several blocks."""
    made: int = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    with database.transaction() as session:
        for first in (0, 10, 20):
            points = [Point(first + n, 1e9 + n, {LOSS: odd, ENERGY: n / 7}) for n, odd in enumerate(ODD)]
            curves.write(session, made, points, references={ENERGY: Reference(float("inf"), 0.25)})
        curves.write(session, made, [Point(3, 1e9 + 0.5, {RARE: 1.0})])
    return made


def view_of(job_id: int, choice: Choice, *, times: bool) -> bytes:
    """What the answer's own model writes."""
    with database.transaction() as session:
        views = [_view(job_id, curve, times) for curve in curves.read(session, job_id, choice)]
    return CurvesView(relative_to=choice.relative_to, bucket=None, curves=views).model_dump_json().encode()


def _view(job_id: int, curve: Curve, times: bool) -> CurveView:
    return CurveView(
        job=job_id,
        layer=curve.layer,
        measure=curve.measure,
        **curve.reference._asdict(),
        steps=curve.steps.tolist(),
        values=curve.values.tolist(),
        times=curve.times.tolist() if times else None,
    )


@pytest.mark.parametrize("large", [0, 3, 20, 30, 1000])
@pytest.mark.parametrize(
    ("asked", "choice"),
    [
        ({}, Choice()),
        ({"times": True, "first_step": 4, "last_step": 24}, Choice(first=4, last=24)),
        ({"relative_to": "optimum"}, Choice(relative_to="optimum")),
        ({"relative_to": "bound"}, Choice(relative_to="bound")),
        ({"first_step": 500}, Choice(first=500)),
    ],
)
def test_json_is_what_its_model_writes_however_large_it_is(
    ada: TestClient, job: int, monkeypatch: pytest.MonkeyPatch, large: int, asked: dict[str, Any], choice: Choice
) -> None:
    monkeypatch.setattr(routes, "LARGE", large)
    monkeypatch.setattr(curve_json, "AT_ONCE", 4)
    answer = ada.get(f"/v1/jobs/{job}/curves", params=asked)
    assert answer.content == view_of(job, choice, times="times" in asked)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert int(answer.headers["content-length"]) == len(answer.content)
    again = ada.get(f"/v1/jobs/{job}/curves", params=asked, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


def test_a_large_answer_has_the_tag_that_a_small_one_has(
    ada: TestClient, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ({}, {"max_points": 7, "times": True}):
        small = ada.get("/v1/curves", params={"job": job} | asked)
        with monkeypatch.context() as patched:
            patched.setattr(routes, "LARGE", 0)
            large = ada.get("/v1/curves", params={"job": job} | asked)
        assert (large.content, large.headers["etag"]) == (small.content, small.headers["etag"])
        CurvesView.model_validate_json(large.content)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_chart_of_too_many_buckets_is_refused_with_what_would_do(
    ada: TestClient, job: int, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(routes, "MOST_BUCKETS", 20)
    asked = {"max_points": 10, "format": form}
    answer = ada.get(f"/v1/jobs/{job}/curves", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (400, "too_much")
    assert "fewer max_points" in answer.json()["detail"]
    assert ada.get(f"/v1/jobs/{job}/curves", params=asked | {"measure": "loss"}).status_code == 200
    assert ada.get(f"/v1/jobs/{job}/curves", params=asked | {"max_points": 9}).status_code == 200


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_one_user_has_so_many_at_a_time(
    ada: TestClient, as_user: Callable[[str], TestClient], job: int, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(routes, "LARGE", 0)
    answers: LargeResponses = ada.app.state.large_responses  # type: ignore[attr-defined]
    mine = ada.get("/v1/jobs").json()["jobs"][0]["id"]
    assert mine == job
    with database.transaction() as session:
        user_id = session.execute(database_user("ada")).scalar_one()
    held = [answers.held(user_id) for _ in range(large_responses.MOST_OPEN)]
    for each in held:
        each.__enter__()
    refused = ada.get(f"/v1/jobs/{job}/curves", params={"format": form})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) >= 1
    bob = as_user("bob")
    his = bob.post("/v1/jobs", json=DIGITS).json()["id"]
    assert bob.get(f"/v1/jobs/{his}/curves", params={"format": form}).status_code == 200, "another is not concerned"
    held.pop().__exit__(None, None, None)
    assert ada.get(f"/v1/jobs/{job}/curves", params={"format": form}).status_code == 200
    assert ada.get(f"/v1/jobs/{job}/curves", params={"format": form}).status_code == 200, "it was given back"


def database_user(name: str) -> Any:
    from sqlalchemy import select

    from hsu_jobs.tables import User

    return select(User.id).where(User.name == name)


class Endless:
    """Pieces without an end, and whether somebody closed them."""

    def __init__(self) -> None:
        self.begun, self.is_closed = threading.Event(), threading.Event()

    def __call__(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                self.begun.set()
        finally:
            self.is_closed.set()


@pytest.mark.parametrize("kind", [LargeJson, Download])
def test_a_client_that_goes_away_ends_the_work(kind: type[LargeJson | Download]) -> None:
    async def run() -> None:
        pieces, answers = Endless(), LargeResponses(at_once=1)
        state = SimpleNamespace(large_responses=answers, access_watch=AccessWatch())
        scope = {"type": "http", "method": "GET", "headers": [], "app": SimpleNamespace(state=state), "path": "/"}
        begin(scope)
        key: Any = SimpleNamespace(id=5, user_id=7)

        async def receive() -> dict[str, Any]:
            while not pieces.begun.is_set():
                await asyncio.sleep(0.001)
            return {"type": "http.disconnect"}

        async def send(message: object) -> None:
            """Take it."""

        await asyncio.wait_for(kind(Request(scope), key, pieces)(scope, receive, send), timeout=60)
        assert pieces.is_closed.is_set()
        async with answers.slots.slot(8):  # nothing is held any more
            with answers.held(7):
                pass

    asyncio.run(run())


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_download_breaks_off_when_its_key_ends(version: str) -> None:
    async def run() -> None:
        pieces, held = Endless(), AccessWatch()
        state = SimpleNamespace(large_responses=LargeResponses(), access_watch=held)
        scope = {"type": "http", "method": "GET", "headers": [], "app": SimpleNamespace(state=state), "path": "/"}
        begin(scope)
        scope["asgi"] = {"spec_version": version}
        key: Any = SimpleNamespace(id=5, user_id=7)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return await asyncio.Future()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if message.get("body"):
                held.end({key.id: REVOKED})

        await asyncio.wait_for(Download(Request(scope), key, pieces)(scope, receive, send), timeout=60)
        assert pieces.is_closed.is_set()
        assert [message.get("more_body") for message in sent] == [None, True], "it does not end as a whole answer does"
        with held.hold(key) as right:
            assert right.ending is None

    asyncio.run(run())


def test_opening_one_too_many_says_how_many_there_may_be() -> None:
    answers = LargeResponses(most_open=1)
    with answers.held(1), answers.held(2), pytest.raises(TooManyRequests, match="1 large answers"), answers.held(1):
        pytest.fail("it was let in")
