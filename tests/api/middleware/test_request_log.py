"""What every request has: an id, safe headers, a log line, counts, and an end."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from samples import DIGITS
from sqlalchemy import text

from api.app import create_app
from hsu_jobs import database, doorbell, settings

Restarted = Callable[..., TestClient]


@pytest.fixture
def restarted(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restarted]:
    """The app once more, with other settings, asked with ada's key."""
    level = logging.getLogger().level

    def again(**values: str) -> TestClient:
        for name, value in values.items():
            monkeypatch.setenv(f"HSU_{name.upper()}", value)
        database.engine().dispose()
        for cached in (settings.settings, database.engine):
            cached.cache_clear()
        headers = {"Authorization": ada.headers["authorization"]}
        return TestClient(create_app(), headers=headers, raise_server_exceptions=False)

    yield again
    database.engine().dispose()
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("given", ["abc-1.2_3", "A" * 64])
def test_a_request_keeps_the_id_that_it_brings(http: TestClient, given: str) -> None:
    answer = http.get("/v1/jobs", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "A" * 65, "a b", "-a", "a\tb"])
def test_a_request_without_a_fair_id_gets_one(http: TestClient, given: str | None) -> None:
    answer = http.get("/v1/jobs", headers={} if given is None else {"X-Request-Id": given})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] != given
    assert len(answer.headers["x-request-id"]) == 16


def test_every_answer_is_safe_to_show(http: TestClient) -> None:
    for path in ("/healthz", "/nowhere", "/v1/jobs"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "strict-transport-security" not in headers
        assert "server" not in headers


def test_behind_tls_it_is_said_to_stay_there(http: TestClient) -> None:
    secure = TestClient(http.app, base_url="https://hsu.example")
    assert secure.get("/healthz").headers["strict-transport-security"] == "max-age=31536000"


def test_the_documentation_loads_only_what_is_here(http: TestClient) -> None:
    page = http.get("/docs")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "//" not in page.text.replace("<!doctype html>", "")
    for file in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"/docs/{file}" in page.text
        assert http.get(f"/docs/{file}").status_code == 200


def test_web_pages_of_others_may_not_ask_unless_they_are_named(http: TestClient, restarted: Restarted) -> None:
    asked = {"Origin": "https://lab.example", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in http.get("/healthz", headers=asked).headers
    named = restarted(cors_origins="https://lab.example")
    answer = named.options("/v1/jobs", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    assert "x-request-id" in answer.headers
    stranger = named.get("/healthz", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_a_request_leaves_one_line_that_holds_no_secret(
    ada: TestClient, restarted: Restarted, capsys: pytest.CaptureFixture[str]
) -> None:
    client = restarted(log_format="json")
    capsys.readouterr()
    client.get("/v1/jobs/7", params={"secret": "in the query"}, headers={"X-Request-Id": "r7"})
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    key = ada.headers["authorization"].split("_")
    assert 0 <= line.pop("ms") < 60_000
    assert {**line, "time": "", "message": ""} == {
        "time": "", "message": "", "level": "INFO", "logger": "api.requests", "service": "hsu", "request_id": "r7",
        "method": "GET", "route": "/v1/jobs/{job_id}", "status": 404, "key": key[1],
    }  # fmt: skip
    assert key[2] not in str(line)


def test_for_people_a_line_begins_with_the_request(restarted: Restarted, capsys: pytest.CaptureFixture[str]) -> None:
    client = restarted(log_format="text")
    capsys.readouterr()
    client.get("/healthz", headers={"X-Request-Id": "r8"})
    (line,) = capsys.readouterr().err.splitlines()
    assert "INFO api.requests: request r8: GET /healthz 200 in " in line


def test_what_nobody_foresaw_is_a_problem_and_a_trace_under_one_id(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("hsu_jobs.queries.jobs_visible_to", fail)
    answer = ada.get("/v1/jobs", headers={"X-Request-Id": "r9"})
    assert (answer.status_code, answer.json()["code"], answer.json()["request_id"]) == (500, "internal_error", "r9")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "on purpose" in caplog.text


def test_requests_are_counted_by_route_method_and_status(ada: TestClient, root: TestClient) -> None:
    ada.get("/v1/jobs/4711")
    families = {f.name: f.samples for f in text_string_to_metric_families(root.get("/metrics").text)}
    counts = {tuple(sorted(s.labels.items())): s.value for s in families["hsu_http_requests"] if s.name[-5:] == "total"}
    assert counts[("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "404")] >= 1
    seconds = [s for s in families["hsu_http_seconds"] if s.labels.get("route") == "/v1/jobs/{job_id}"]
    assert {"hsu_http_seconds_bucket", "hsu_http_seconds_count"} <= {s.name for s in seconds}
    assert "hsu_http_streams" in families


def test_a_405_names_every_method_that_there_is(http: TestClient) -> None:
    assert http.put("/v1/jobs").headers["allow"] == "GET, POST"
    assert http.post("/v1/keys/1").headers["allow"] == "DELETE, GET"


def test_what_takes_too_long_ends_and_so_does_its_statement(ada: TestClient, restarted: Restarted) -> None:
    client = restarted(request_time="0.4")
    with database.transaction() as session:
        session.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        begun = time.monotonic()
        answer = client.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (504, "took_too_long")
        assert time.monotonic() - begun < 20, "the server itself would wait for 30 s"
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        assert session.execute(text(waiting)).all() == []
    assert client.get("/v1/jobs").status_code == 200


def test_an_answer_that_does_not_begin_in_time_is_not_waited_for(
    restarted: Restarted, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = restarted(request_time="0.3")
    ready = threading.Event()
    monkeypatch.setattr(doorbell, "answers", lambda: ready.wait(1.5))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (504, "took_too_long")
    ready.set()
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/jobs", json=DIGITS).status_code == 201
