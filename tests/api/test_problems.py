"""Errors over HTTP: each a problem with a stable code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from read_only import read_only
from samples import DIGITS
from sqlalchemy import text

from hsu_jobs import database, settings

MIB = 1024 * 1024


def test_without_a_key_or_with_a_wrong_one_nobody_comes_in(http: TestClient) -> None:
    for headers in ({}, {"Authorization": "Bearer hsu_x_y"}, {"Authorization": "Basic YTpi"}):
        for answer in (http.get("/v1/jobs", headers=headers), http.post("/v1/jobs", json=DIGITS, headers=headers)):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_broken_json_is_a_bad_request(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", content=b'{"name": ', headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "not valid JSON" in answer.json()["detail"]


def test_a_body_over_one_mebibyte_is_too_large(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", content=b" " * (MIB + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_that_does_not_say_its_length_is_counted(ada: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    answer = ada.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_of_just_one_mebibyte_is_read(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", content=b" " * MIB, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_a_bad_parameter_is_named(ada: TestClient) -> None:
    answer = ada.get("/v1/jobs", params={"limit": 0, "state": "asleep"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#query/limit", "#query/state/0"}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/v1/jobs", 405)])
def test_what_is_not_there_is_a_problem_too(http: TestClient, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_database_that_does_not_answer_is_unavailable(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_DATABASE_URL", "postgresql://127.0.0.1:1/hsu")
    database.engine().dispose()
    settings.settings.cache_clear()
    database.engine.cache_clear()
    for answer in (ada.post("/v1/jobs", json=DIGITS), ada.get("/readyz")):
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert ada.get("/healthz").json() == {"status": "ok"}


def test_a_database_that_takes_no_writes_is_unavailable_for_writers_and_read_by_readers(
    ada: TestClient, root: TestClient, database_url: str
) -> None:
    made = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    with read_only(database_url):
        for answer in (
            ada.post("/v1/jobs", json=DIGITS, headers={"Idempotency-Key": "once"}),
            ada.post(f"/v1/jobs/{made}/cancel"),
            root.post("/v1/keys", json={"name": "new"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
            assert answer.headers["retry-after"] == "5"
        assert "takes no writes" in answer.json()["detail"]  # the first ones met connections that were ended
        assert ada.get(f"/v1/jobs/{made}").json()["state"] == "queued"
        assert root.get("/v1/jobs").status_code == 200  # though this key's use cannot be noted
    assert ada.post("/v1/jobs", json=DIGITS, headers={"Idempotency-Key": "once"}).status_code == 201
    assert ada.post(f"/v1/jobs/{made}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("code", ["53300", "53100", "57P01", "57P03", "40001"])
def test_what_passes_by_itself_is_unavailable_whatever_postgres_calls_it(
    ada: TestClient, database_url: str, code: str
) -> None:
    with database.transaction() as session:
        session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION 'as it happens' USING ERRCODE = '{code}'; END $$; "
                "CREATE TRIGGER refuse BEFORE INSERT ON jobs EXECUTE FUNCTION refuse()"
            )
        )
    answer = ada.post("/v1/jobs", json=DIGITS)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("change", "pointer", "told"),
    [
        (
            {"regularizer": {"kind": "mhee"}},
            "/regularizer",
            "there is no regularizer 'mhee' here; did you mean mhe",
        ),
        ({"dataset": {"kind": "MNIST"}}, "/dataset", "there is no dataset 'MNIST' here; did you mean mnist"),
        ({"model": {"kind": "resnet"}}, "/model", "there is no model 'resnet' here; did you mean "),
        ({"model": {"kind": "qqq"}}, "/model", "there is no model 'qqq' here; there are mlp, small_cnn, "),
        (
            {"record": {"measures": ["min_angel"]}},
            "/record/measures/0",
            "measures 'min_angel' here; did you mean min_",
        ),
        (
            {"task": "node"},
            "/task",
            "there is no task 'node' here; did you mean nodes? there are ",
        ),
    ],
)
def test_a_choice_that_is_not_there_is_told_with_near_ones_and_all(
    ada: TestClient, change: dict[str, object], pointer: str, told: str
) -> None:
    answer = ada.post("/v1/jobs", json=DIGITS | change)
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (422, pointer)
    assert told in fault["detail"]
    assert told in answer.json()["detail"]


def test_a_choice_of_any_length_and_kind_is_told_shortly(ada: TestClient) -> None:
    for kind in ("x" * 100_000, "\x1b[31m", "a'b"):
        answer = ada.post("/v1/jobs", json=DIGITS | {"regularizer": {"kind": kind}})
        detail = answer.json()["errors"][0]["detail"]
        assert len(detail) < 600
        assert "here; there are none, mhe, " in detail
        assert "\x1b" not in detail


def test_a_parameter_that_is_not_there_is_told_with_near_ones_and_all(ada: TestClient) -> None:
    told = ada.get("/v1/jobs", params={"state": "runing"}).json()
    wanted = "there is no state 'runing' here; did you mean running? there are queued, "
    assert wanted in told["errors"][0]["detail"]
    assert told["detail"].startswith(f"a parameter is not valid: #query/state/0: {wanted}")
