"""Many jobs in one request: all of them, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from samples import DIGITS, POINTS
from waiting import until

from hsu_core import costs
from hsu_jobs import database, spec
from hsu_jobs.cluster import admission, workers

URL = "/v1/jobs/bulk"


def seeds(count: int) -> list[dict[str, Any]]:
    return [DIGITS | {"seed": seed, "name": f"seed {seed}"} for seed in range(count)]


def refused(client: TestClient, status: int, body: object) -> dict[str, str]:
    """The pointers and codes of what is wrong; nothing is queued."""
    answer = client.post(URL, json=body)
    assert answer.status_code == status, answer.text
    assert client.get("/v1/jobs").json()["jobs"] == []
    return {error["pointer"]: error["code"] for error in answer.json()["errors"]}


def test_a_thousand_jobs_are_queued_in_their_order(ada: TestClient, redis_url: str) -> None:
    answer = ada.post(URL, json={"jobs": seeds(1000)})
    assert answer.status_code == 201, answer.text
    jobs = answer.json()["jobs"]
    assert [job["name"] for job in jobs] == [f"seed {seed}" for seed in range(1000)]
    assert [job["id"] for job in jobs] == list(range(jobs[0]["id"], jobs[0]["id"] + 1000))
    last = ada.get(f"/v1/jobs/{jobs[-1]['id']}").json()
    assert (last["spec"]["seed"], last["fingerprint"], last["state"]) == (999, jobs[-1]["fingerprint"], "queued")
    assert [each["event"]["kind"] for each in ada.get(f"/v1/jobs/{last['id']}/events").json()["events"]] == [
        "submitted"
    ]
    with Redis.from_url(redis_url) as redis:
        until(lambda: redis.llen("hsu"))
        (message,) = redis.lrange("hsu", 0, -1)
    assert json.loads(message)["headers"]["argsrepr"] == f"({last['id']},)"


def test_trainings_and_points_go_together(ada: TestClient) -> None:
    assert len(ada.post(URL, json={"jobs": [DIGITS, POINTS]}).json()["jobs"]) == 2


def test_each_tells_of_jobs_that_were_there_with_the_same_result(ada: TestClient) -> None:
    first = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    jobs = ada.post(URL, json={"jobs": [DIGITS | {"name": "again"}, DIGITS | {"seed": 7}]}).json()["jobs"]
    assert [job["duplicates"] for job in jobs] == [[first], []]


def test_one_bad_field_and_none_is_queued(ada: TestClient) -> None:
    specs = seeds(5)
    specs[3]["regularizer"] = {"kind": "mhe", "q": 1}
    specs[4]["batch_size"] = 0
    assert refused(ada, 422, {"jobs": specs}) == {
        "/jobs/3/regularizer/q": "extra_forbidden",
        "/jobs/4/batch_size": "greater_than_equal",
    }


def test_what_could_not_run_is_pointed_at_in_each(ada: TestClient) -> None:
    with database.transaction() as session:
        workers.register(session, "a", pool="default", devices=["cpu:0"], slots=1)
    specs = seeds(4)
    specs[1]["resources"] = {"pool": "none"}
    specs[2]["resources"] = {"pool": "neither"}
    found = refused(ada, 422, {"jobs": specs})
    assert found == {"/jobs/1/resources/pool": "unknown_pool", "/jobs/2/resources/pool": "unknown_pool"}


def test_of_many_that_could_not_run_the_first_are_pointed_at(ada: TestClient) -> None:
    wrong = [spec | {"record": {"layers": ["none"]}} for spec in seeds(50)]
    answer = ada.post(URL, json={"jobs": wrong})
    assert "at least 20 of 50 jobs cannot be queued" in answer.json()["detail"]
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/jobs/{n}/record/layers/0" for n in range(20)]


def test_the_check_of_many_ends_after_a_while_and_says_where(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_SECONDS", -1.0)
    assert refused(ada, 422, {"jobs": seeds(3)}) == {"/jobs/0": "not_looked_at"}
    monkeypatch.setattr(spec, "MOST_SECONDS", -1.0)
    assert refused(ada, 422, {"jobs": seeds(3)}) == {"/jobs/0": "not_looked_at"}


def test_once_one_is_refused_the_check_ends_sooner(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [DIGITS | {"record": {"layers": ["none"]}}, *seeds(2)]
    monkeypatch.setattr(admission, "ENOUGH_SECONDS", -1.0)
    assert refused(ada, 422, {"jobs": wrong}) == {
        "/jobs/0/record/layers/0": "no_such_layer",
        "/jobs/1": "not_looked_at",
    }
    monkeypatch.setattr(spec, "ENOUGH_SECONDS", -1.0)
    assert refused(ada, 422, {"jobs": [{**DIGITS, "batch_size": 0}, *seeds(2)]}) == {
        "/jobs/0/batch_size": "greater_than_equal",
        "/jobs/1": "not_looked_at",
    }


def test_a_sweep_over_seeds_rates_and_strengths_is_checked_once(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    estimate = costs.estimate
    monkeypatch.setattr(costs, "estimate", lambda training: computed.append(training.seed) or estimate(training))
    rates = [DIGITS | {"optimizer": {"kind": "sgd", "lr": 0.1 + place / 100}} for place in range(3)]
    strengths = [DIGITS | {"regularizer": {"kind": "mhe", "hidden_weight": 1.0 + place}} for place in range(3)]
    assert ada.post(URL, json={"jobs": [*seeds(5), *rates, *strengths, DIGITS | {"batch_size": 8}]}).status_code == 201
    assert len(computed) == 2


def test_what_is_forbidden_is_pointed_at(ada: TestClient) -> None:
    specs = seeds(2)
    specs[1]["priority"] = 50
    assert refused(ada, 403, {"jobs": specs}) == {"/jobs/1/priority": "priority_too_high"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"jobs": []}, {"/jobs": "too_short"}),
        ({}, {"/jobs": "missing"}),
        ({"jobs": DIGITS}, {"/jobs": "list_type"}),
        ({"jobs": [DIGITS], "dry": True}, {"/dry": "extra_forbidden"}),
        ({"jobs": [7]}, {"/jobs/0": "model_attributes_type"}),
    ],
)
def test_a_body_that_holds_no_jobs_is_refused(ada: TestClient, body: object, faults: dict[str, str]) -> None:
    assert refused(ada, 422, body) == faults


def test_more_than_a_thousand_are_too_many(ada: TestClient) -> None:
    assert refused(ada, 422, {"jobs": [POINTS] * 1001}) == {"/jobs": "too_long"}


def test_a_bulk_with_a_key_comes_once(ada: TestClient) -> None:
    key = {"Idempotency-Key": "b"}
    first, again = (ada.post(URL, json={"jobs": seeds(3)}, headers=key) for _ in range(2))
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    assert len(ada.get("/v1/jobs").json()["jobs"]) == 3
    assert ada.post(URL, json={"jobs": seeds(2)}, headers=key).status_code == 422
