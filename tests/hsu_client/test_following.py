"""How does the client follow a job, its events, curves and log, also when the stream breaks off?"""

from __future__ import annotations

import math
import threading
import time

import pytest
from answering import answering, unused_port
from samples import EXAMPLE, ROOM
from sqlalchemy.orm import Session

from hsu_client.client import Client
from hsu_client.live import Points, Rollback
from hsu_client.problem import Problem, Unreachable
from hsu_core.outcomes import Series
from hsu_jobs import attempts, curves
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.outcomes import Failed, Released
from hsu_jobs.settings import Settings


def test_following_ends_when_the_job_does(client: Client) -> None:
    job = client.submit(EXAMPLE)
    states = []
    for view in client.follow(job["id"], poll=0.01):
        states.append(view["state"])
        if len(states) == 2:
            client.cancel(job["id"])
    assert states[0] == "queued"
    assert states[-1] == "cancelled"


def test_a_paused_job_has_not_ended_and_can_be_resumed(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    assert client.pause(job)["state"] == "paused"
    states = []
    for view in client.follow(job, poll=0.01):
        states.append(view["state"])
        if len(states) == 2:
            client.resume(job)
        if len(states) == 3:
            client.cancel(job)
    assert states == ["paused", "paused", "queued", "cancelled"]


def test_a_change_of_state_is_told_at_once(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    began = time.monotonic()
    threading.Timer(0.5, client.cancel, [job]).start()
    assert [view["state"] for view in client.follow(job, poll=60)] == ["queued", "cancelled"]
    assert time.monotonic() - began < 30


def test_events_are_followed_as_they_happen_and_on_from_one(client: Client) -> None:
    job = client.submit(EXAMPLE)["id"]
    seen = []
    for event in client.follow_events(job):
        seen.append(event)
        if len(seen) == 1:
            client.pause(job)
        if len(seen) == 2:
            client.cancel(job)
    assert seen == list(client.events(job))
    assert [event["event"]["kind"] for event in seen] == ["submitted", "paused", "cancelled"]
    assert list(client.follow_events(job, after=seen[1]["id"])) == seen[2:]


def test_points_are_followed_with_their_nans_and_through_a_rollback(
    client: Client, session: Session, claim: Claim
) -> None:
    loss, energy = Series(None, "loss"), Series("conv1", "mhe_s2")

    def measured(*points: curves.Point) -> None:
        attempts.progress(session, claim.token, step=points[-1].step, points=points)
        session.flush()

    attempts.begin(session, claim.token, None)
    measured(curves.Point(0, 1.0, {loss: math.inf, energy: 1.5}), curves.Point(1, 2.0, {loss: 0.5}))
    seen: list[Points | Rollback] = []
    for told in client.follow_curves(claim.job_id):
        seen.append(told)
        if len(seen) == 1:
            attempts.settle(session, claim.token, Released(), Settings())
            session.flush()
            again = attempts.claim(session, ROOM, Settings())
            assert again is not None
            attempts.begin(session, again.token, None)
            session.flush()
        if len(seen) == 2:
            attempts.settle(session, again.token, Failed(code="error", message="x"), Settings())
            session.flush()
    assert seen == [Points([0, 1], [1.0, 2.0], {(None, "loss"): [math.inf, 0.5], ("conv1", "mhe_s2"): [1.5, None]}),
                    Rollback(0)]  # fmt: skip
    assert list(client.follow_curves(claim.job_id, measures=["loss"])) == []


def test_a_stream_that_breaks_off_is_resumed_after_the_last_event() -> None:
    first = "retry: 1\n\nid: 7\nevent: paused\ndata: {}\n\nid: 8\nevent: resumed\ndata: {}\n\n"
    answers = [
        (200, "text/event-stream", first),
        (503, "text/plain", "starting"),
        (200, "text/event-stream", "id: 9\nevent: cancelled\ndata: {}\n\nevent: end\ndata: {}\n\n"),
    ]
    heard: list[dict[str, str]] = []
    with answering(*answers, heard=heard) as url, Client(url, "key") as client:
        assert len(list(client.follow_events(1))) == 3
    assert [headers.get("last-event-id") for headers in heard] == [None, "8", "8"]


def test_a_stream_of_a_service_that_is_away_gives_up_when_patience_ends() -> None:
    with Client(f"http://127.0.0.1:{unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.follow_events(1, patience=0.05))


def test_a_refused_stream_is_a_problem(client: Client) -> None:
    with pytest.raises(Problem, match="there is no job"):
        list(client.follow_events(10**9))
    job = client.submit(EXAMPLE)["id"]
    with pytest.raises(Problem, match="Last-Event-ID"):
        list(client.follow_events(job, after=10**9))


def test_a_log_is_followed_as_it_grows_until_the_attempt_has_ended(
    client: Client, session: Session, claim: Claim
) -> None:
    logs.append(session, claim.token, 0, b"one\n", limit=1000)
    heard = []
    for text in client.log(claim.job_id, follow=True):
        heard.append(text)
        if len(heard) == 1:
            logs.append(session, claim.token, 4, b"two\n", limit=1000)
        if len(heard) == 2:
            attempts.settle(session, claim.token, Released(), Settings())
            session.flush()
            logs.append(session, claim.token, 8, b"last words\n", limit=1000)
    assert heard == ["one\n", "two\n", "last words\n"]


def test_a_log_of_a_service_that_is_away_is_unreachable() -> None:
    with Client(f"http://127.0.0.1:{unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.log(1, follow=True))


def test_following_waits_for_a_service_that_is_away_for_a_moment() -> None:
    answers = [(503, "text/plain", "starting"), (200, "application/json", '{"state": "succeeded"}')]
    with answering(*answers) as url, Client(url, "key") as client:
        assert [view["state"] for view in client.follow(1, poll=0)] == ["succeeded"]


def test_following_gives_up_when_patience_ends() -> None:
    with Client(f"http://127.0.0.1:{unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.follow(1, poll=0.01, patience=0.05))
