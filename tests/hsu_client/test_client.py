"""The client against the real API, and against servers that are none of ours."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from samples import ROOM
from sqlalchemy import NullPool, create_engine, delete, select
from sqlalchemy.orm import Session

from hsu_client.answers import Curve
from hsu_client.client import Client
from hsu_client.live import Points, Rollback
from hsu_client.problem import Problem, Unreachable
from hsu_core.outcomes import Reference, Saved, Series
from hsu_jobs import attempts, curves
from hsu_jobs.artifacts import logs
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import workers
from hsu_jobs.outcomes import Failed, Released
from hsu_jobs.settings import Settings
from hsu_jobs.tables import User, Worker

SPEC: dict[str, Any] = json.loads(Path(__file__).parents[2].joinpath("examples/digits-mhe.json").read_text())


def test_a_submitted_job_can_be_looked_at(client: Client) -> None:
    job = client.submit(SPEC)
    assert job["state"] == "queued"
    assert client.job(job["id"])["spec"]["regularizer"]["kind"] == "mhe"


def test_the_same_idempotency_key_gives_the_same_job(client: Client) -> None:
    first = client.submit(SPEC, idempotency_key="once")
    assert client.submit(SPEC, idempotency_key="once")["id"] == first["id"]
    assert client.submit(SPEC)["id"] != first["id"]


def test_jobs_come_newest_first_over_as_many_pages_as_there_are(client: Client) -> None:
    submitted = [client.submit(SPEC)["id"] for _ in range(5)]
    listed = [job["id"] for job in client.jobs(page=2)]
    assert listed[:5] == submitted[::-1]
    assert listed == sorted(set(listed), reverse=True)


def test_jobs_can_be_chosen_sorted_and_shown_in_part(client: Client) -> None:
    specs = [SPEC | {"tags": ["chosen", tag], "name": f"chosen {tag}"} for tag in ("b", "a", "c")]
    made = client.submit_many(specs, idempotency_key="many")
    assert client.submit_many(specs, idempotency_key="many") == made
    found = list(client.jobs(tag="chosen", sort="name", fields=["id", "name"], page=1))
    assert found == [
        {"id": made[place]["id"], "name": f"chosen {tag}"} for place, tag in ((1, "a"), (0, "b"), (2, "c"))
    ]
    assert [job["id"] for job in client.jobs(tag=["chosen", "c"], state=["queued"])] == [made[2]["id"]]
    assert client.job(made[0]["id"], fields=["state"]) == {"state": "queued"}


def test_many_jobs_of_which_one_is_wrong_are_none(client: Client) -> None:
    with pytest.raises(Problem) as refused:
        client.submit_many([SPEC, SPEC | {"batch_size": 0}])
    assert [fault.pointer for fault in refused.value.errors] == ["/jobs/1/batch_size"]


def test_a_quote_tells_what_a_job_would_cost_and_queues_nothing(client: Client) -> None:
    before = [job["id"] for job in client.jobs(fields=["id"])]
    quote = client.quote(SPEC)
    assert quote["costs"]["parameters"] > 10_000
    assert quote["waiting"]["reason"] == "no_worker"
    assert [job["id"] for job in client.jobs(fields=["id"])] == before


def test_jobs_can_be_chosen_by_state(client: Client) -> None:
    cancelled = client.submit(SPEC)["id"]
    client.cancel(cancelled)
    queued = client.submit(SPEC)["id"]
    chosen = {job["id"] for job in client.jobs(state="cancelled")}
    assert cancelled in chosen
    assert queued not in chosen


def test_following_ends_when_the_job_does(client: Client) -> None:
    job = client.submit(SPEC)
    states = []
    for view in client.follow(job["id"], poll=0.01):
        states.append(view["state"])
        if len(states) == 2:
            client.cancel(job["id"])
    assert states[0] == "queued"
    assert states[-1] == "cancelled"


def test_a_paused_job_has_not_ended_and_can_be_resumed(client: Client) -> None:
    job = client.submit(SPEC)["id"]
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
    job = client.submit(SPEC)["id"]
    began = time.monotonic()
    threading.Timer(0.5, client.cancel, [job]).start()
    assert [view["state"] for view in client.follow(job, poll=60)] == ["queued", "cancelled"]
    assert time.monotonic() - began < 30


def test_events_are_followed_as_they_happen_and_on_from_one(client: Client) -> None:
    job = client.submit(SPEC)["id"]
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
    with _server(*answers, heard=heard) as url, Client(url, "key") as client:
        assert len(list(client.follow_events(1))) == 3
    assert [headers.get("last-event-id") for headers in heard] == [None, "8", "8"]


def test_a_stream_of_a_service_that_is_away_gives_up_when_patience_ends() -> None:
    with Client(f"http://127.0.0.1:{_unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.follow_events(1, patience=0.05))


def test_a_refused_stream_is_a_problem(client: Client) -> None:
    with pytest.raises(Problem, match="there is no job"):
        list(client.follow_events(10**9))
    job = client.submit(SPEC)["id"]
    with pytest.raises(Problem, match="Last-Event-ID"):
        list(client.follow_events(job, after=10**9))


def test_an_illegal_move_is_a_problem(client: Client) -> None:
    job = client.submit(SPEC)["id"]
    with pytest.raises(Problem, match="resume is not possible") as caught:
        client.resume(job)
    assert (caught.value.status, caught.value.code) == (409, "illegal_move")


def test_a_priority_is_changed_and_a_job_that_ended_tried_again(client: Client) -> None:
    job = client.submit(SPEC)["id"]
    assert client.prioritise(job, -3)["priority"] == -3
    client.cancel(job)
    retried = [client.retry(job, idempotency_key=f"retry {job}")["id"] for _ in range(2)]
    assert retried[0] == retried[1] != job


def test_a_fork_goes_on_from_a_checkpoint(client: Client, session: Session, claim: Claim) -> None:
    for step in (3, 6):
        state = Saved(step, Path("unused"), "ab" * 32, 1000, None, is_best=False)
        attempts.progress(session, claim.token, step=step, saved=[(state, f"unused/{step}")])
        session.flush()
    assert [row["step"] for row in client.checkpoints(claim.job_id)] == [6, 3]
    forked = [
        client.fork(claim.job_id, {"name": "fork"}, step=3, idempotency_key=f"fork {claim.job_id}") for _ in range(2)
    ]
    assert forked[0]["id"] == forked[1]["id"]
    assert (forked[0]["name"], forked[0]["parent"]) == ("fork", {"id": claim.job_id, "step": 3})
    assert client.fork(claim.job_id)["parent"]["step"] == 6
    with pytest.raises(Problem) as caught:
        client.fork(claim.job_id, {"optimizer": {"lr": -1}})
    assert [fault.pointer for fault in caught.value.errors] == ["/change/optimizer/lr"]


def test_events_come_over_as_many_pages_as_there_are(client: Client) -> None:
    job = client.submit(SPEC)["id"]
    for _ in range(2):
        client.pause(job)
        client.resume(job)
    kinds = [seen["event"]["kind"] for seen in client.events(job, page=2)]
    assert kinds == ["submitted", "paused", "resumed", "paused", "resumed"]


def test_a_log_is_read_by_its_tail_or_on_from_a_byte(client: Client, session: Session, claim: Claim) -> None:
    logs.append(session, claim.token, 0, "eins\nzwölf\n".encode(), limit=1000)
    assert "".join(client.log(claim.job_id)) == "eins\nzwölf\n"
    assert "".join(client.log(claim.job_id, tail=1, attempt=1)) == "zwölf\n"
    assert "".join(client.log(claim.job_id, from_byte=5)) == "zwölf\n"
    with pytest.raises(Problem, match="no attempt 9"):
        list(client.log(claim.job_id, attempt=9))


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
    with Client(f"http://127.0.0.1:{_unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.log(1, follow=True))


def test_the_queue_tells_of_my_job(client: Client) -> None:
    job = client.submit(SPEC | {"resources": {"pool": "elsewhere"}})["id"]
    (place,) = (place for place in client.queue(pool="elsewhere")["places"] if place["job"] == job)
    assert (place["owner"], place["reason"]) == ("ada", "no_worker")
    assert client.job(job)["waiting"]["reason"] == "no_worker"
    client.cancel(job)


def test_an_admin_drains_a_worker_and_changes_a_user(client: Client, session: Session, served: Any) -> None:
    workers.register(session, "box 1", pool="default", devices=["cpu:0"], slots=1)
    with Client(served.url, served.admin_key) as root:
        assert root.drain("box 1", now=True)["duty"] == "draining"
        assert [worker["duty"] for worker in client.workers()] == ["draining"]
        assert root.restore("box 1")["duty"] == "active"
        assert root.change_user("ada", share=3.0, max_gpus=2)["share"] == 3.0
        everybody = sorted(session.execute(select(User.name)).scalars())  # other tests have users too
        assert [user["name"] for user in root.users()] == everybody
        assert {"ada", "root"} <= set(everybody)
        assert root.change_user("ada", share=1.0, max_gpus=None)["max_gpus"] is None
    assert [user["name"] for user in client.users()] == ["ada"]
    with pytest.raises(Problem) as caught:
        client.drain("box 1")
    assert caught.value.status == 403
    session.execute(delete(Worker))


def test_a_wrong_spec_is_a_problem_that_points_at_the_field(client: Client) -> None:
    wrong = SPEC | {"optimizer": {"kind": "sgd", "lr": -1}}
    with pytest.raises(Problem) as caught:
        client.submit(wrong)
    assert caught.value.status == 422
    assert [fault.pointer for fault in caught.value.errors] == ["/optimizer/lr"]
    assert "/optimizer/lr" in str(caught.value)


def test_a_job_that_is_not_there_is_a_problem_with_a_code(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.job(10**9)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_wrong_key_is_a_problem(client: Client, served: Any) -> None:
    with Client(served.url, "hsu_00000000_wrong") as stranger, pytest.raises(Problem) as caught:
        stranger.catalog()
    assert caught.value.status == 401


@pytest.mark.parametrize("key", ["", "  ", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client("http://127.0.0.1:1", key)


def test_the_catalog_names_the_regularizers(client: Client) -> None:
    assert {"none", "mhe", "mhs"} <= {entry["kind"] for entry in client.catalog()["regularizers"]}


def test_curves_come_with_their_nans_and_infinities(client: Client, served: Any) -> None:
    job = client.submit(SPEC)
    points = [
        curves.Point(step, time.time(), {Series("conv1", "mhe_s2"): value, Series(None, "loss"): float(step)})
        for step, value in enumerate([1.5, math.nan, math.inf, -math.inf])
    ]
    engine = create_engine(served.database_url, poolclass=NullPool)
    with engine.connect() as connection, Session(connection) as session:
        curves.write(session, job["id"], points, references={Series("conv1", "mhe_s2"): Reference(2.0, 1.0)})
        session.commit()
    (energy,) = client.curves(job["id"], layers=["conv1"], measures=["mhe_s2"])
    assert energy.steps == [0, 1, 2, 3]
    assert energy.values[0] == 1.5
    assert math.isnan(energy.values[1])
    assert energy.values[2:] == [math.inf, -math.inf]
    assert (energy.random, energy.optimum) == (2.0, 1.0)
    (gap,) = client.curves(job["id"], relative_to="random")
    assert (gap.values[0], gap.random, gap.optimum) == (-0.5, 0.0, -1.0)
    assert Curve(None, "loss", [0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], job=job["id"]) in client.curves(job["id"])

    (chart,) = client.curves(job["id"], measures=["mhe_s2"], max_points=1, times=True)
    assert (chart.steps, chart.values, chart.min, chart.max) == ([3], [-math.inf], [-math.inf], [math.inf])
    assert (chart.counts, chart.nans, chart.times) == ([4], [1], [points[3].time])
    table = b"".join(client.curves_file(job["id"], form="csv", measure="loss")).decode().splitlines()
    assert [line.split(",")[3:4] + line.split(",")[5:] for line in table[1:]] == [[str(n), f"{n}"] for n in range(4)]
    with pytest.raises(Problem, match="there are loss"):
        b"".join(client.curves_file(job["id"], measure="los"))


def test_nobody_at_the_address_is_said_plainly() -> None:
    with Client(f"http://127.0.0.1:{_unused_port()}", "key") as client, pytest.raises(Unreachable, match="no answer"):
        client.catalog()


def test_following_waits_for_a_service_that_is_away_for_a_moment() -> None:
    answers = [(503, "text/plain", "starting"), (200, "application/json", '{"state": "succeeded"}')]
    with _server(*answers) as url, Client(url, "key") as client:
        assert [view["state"] for view in client.follow(1, poll=0)] == ["succeeded"]


def test_following_gives_up_when_patience_ends() -> None:
    with Client(f"http://127.0.0.1:{_unused_port()}", "key") as client, pytest.raises(Unreachable):
        list(client.follow(1, poll=0.01, patience=0.05))


def test_a_refusal_from_a_proxy_keeps_its_status() -> None:
    with (
        _server((502, "text/html", "<h1>no")) as url,
        Client(url, "key") as client,
        pytest.raises(Problem, match="Bad Gateway") as caught,
    ):
        client.catalog()
    assert (caught.value.status, caught.value.code) == (502, "http_502")


def test_a_refusal_with_a_status_that_nobody_registered_is_still_a_problem() -> None:
    with (
        _server((599, "application/problem+json", "not json")) as url,
        Client(url, "key") as client,
        pytest.raises(Problem, match="HTTP status 599"),
    ):
        client.catalog()


@pytest.mark.parametrize("body", ["<h1>hello</h1>", '["a list"]'])
def test_another_kind_of_server_is_recognised(body: str) -> None:
    with (
        _server((200, "text/html", body)) as url,
        Client(url, "key") as client,
        pytest.raises(Unreachable, match="not an HSU service"),
    ):
        client.catalog()


@contextmanager
def _server(*answers: tuple[int, str, str], heard: list[dict[str, str]] | None = None) -> Iterator[str]:
    """A real HTTP server that gives these answers, one after another; `heard`: with which headers it was asked."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = left.pop(0)
            if heard is not None:
                heard.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
