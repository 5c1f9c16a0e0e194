"""Jobs over HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from samples import DIGITS, PLACED, POINTS, ROOM, TRAINED
from waiting import until

from hsu_jobs import attempts, database, settings
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.results import Result
from hsu_jobs.tables import Role


def submit(client: TestClient, **change: Any) -> dict[str, Any]:
    answer = client.post("/v1/jobs", json=DIGITS | change)
    assert answer.status_code == 201, answer.text
    return answer.json()


def settle(result: Result) -> None:
    """Let the job that waits end with this result."""
    with database.transaction() as session:
        claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
        session.flush()
        attempts.settle(session, claim.token, Succeeded(result=result), settings.settings())


def faults(client: TestClient, spec: object) -> dict[str, str]:
    """The pointers and codes of what is wrong with a spec."""
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/jobs").json()["jobs"] == []
    return {error["pointer"]: error["code"] for error in answer.json()["errors"]}


def test_a_submitted_job_waits_and_can_be_looked_at(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", json=DIGITS)
    job = answer.json()
    assert (job["state"], job["owner"], job["step"], job["total_steps"]) == ("queued", "ada", 0, 11)
    assert job["spec"]["regularizer"]["half_space"] is True
    seen = ada.get(answer.headers["location"]).json()
    assert seen == {name: job[name] for name in seen} | {"waiting": seen["waiting"]}
    assert (seen["waiting"]["reason"], job["waiting"], job["duplicates"]) == ("no_worker", None, [])


def test_submitting_rings_the_doorbell_after_the_commit(ada: TestClient, redis_url: str) -> None:
    job = submit(ada)
    with Redis.from_url(redis_url) as redis:
        until(lambda: redis.llen("hsu"))
        (message,) = redis.lrange("hsu", 0, -1)
    assert json.loads(message)["headers"]["argsrepr"] == f"({job['id']},)"


def test_a_list_pages_from_the_newest_and_filters_by_state(ada: TestClient) -> None:
    ids = [submit(ada)["id"] for _ in range(5)]
    ada.post(f"/v1/jobs/{ids[0]}/cancel")
    first = ada.get("/v1/jobs", params={"limit": 3}).json()
    second = ada.get("/v1/jobs", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert [job["id"] for job in ada.get("/v1/jobs", params={"state": "cancelled"}).json()["jobs"]] == ids[:1]


def test_a_queued_job_is_cancelled_at_once_and_not_twice(ada: TestClient) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    answer = ada.post(f"{url}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert answer.json()["finished_at"] is not None
    again = ada.post(f"{url}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "illegal_move")
    assert "the job is cancelled" in again.json()["detail"]


def test_a_result_that_is_not_finite_leaves_as_a_string(ada: TestClient) -> None:
    job = submit(ada)
    settle(TRAINED.model_copy(update={"penalty": math.nan, "train_loss": -math.inf}))
    seen = ada.get(f"/v1/jobs/{job['id']}").json()
    assert [seen["result"][name] for name in ("test_accuracy", "penalty", "train_loss")] == [0.5, "NaN", "-Infinity"]
    assert seen["attempts"][0]["outcome"]["kind"] == "succeeded"
    assert ada.get("/v1/jobs").json()["jobs"] == [seen]


def test_points_come_with_their_job_and_not_with_a_list(ada: TestClient) -> None:
    job = ada.post("/v1/jobs", json=POINTS).json()
    assert job["result"] is None
    settle(PLACED)
    seen = ada.get(f"/v1/jobs/{job['id']}").json()
    assert seen["result"] == json.loads(PLACED.model_dump_json())
    (listed,) = ada.get("/v1/jobs").json()["jobs"]
    assert listed == seen | {"result": seen["result"] | {"points": None}}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"colour": "red"}, "/colour", "extra_forbidden"),
        ({"regularizer": {"kind": "mhe", "q": 1}}, "/regularizer/q", "extra_forbidden"),
        ({"regularizer": {"kind": "magic"}}, "/regularizer", "union_tag_invalid"),
        ({"regularizer": {"s": 2}}, "/regularizer", "union_tag_not_found"),
        ({"dataset": {"kind": "imagenet"}}, "/dataset", "union_tag_invalid"),
        ({"optimizer": {"kind": "sgd", "lr": -0.1}}, "/optimizer/lr", "greater_than"),
        ({"optimizer": {"kind": "adamw", "betas": [0.9, 1.5]}}, "/optimizer/betas/1", "less_than"),
        ({"batch_size": 2000}, "/batch_size", "batch_larger_than_dataset"),
        ({"batch_size": "many"}, "/batch_size", "int_type"),
        ({"batch_size": "64"}, "/batch_size", "int_type"),
        ({"batch_size": True}, "/batch_size", "int_type"),
        ({"regularizer": {"kind": "mhe", "half_space": 1}}, "/regularizer/half_space", "bool_type"),
        ({"name": "  "}, "/name", "string_pattern_mismatch"),
        ({"name": "a\x00b"}, "/name", "string_pattern_mismatch"),
        ({"seed": 2**53}, "/seed", "less_than_equal"),
        ({"model": {"kind": "cnn9"}}, "/model", "model_does_not_fit"),
        ({"duration": {}}, "/duration/epochs", "epochs_or_steps"),
        ({"duration": {"epochs": 1, "steps": 1}}, "/duration/epochs", "epochs_or_steps"),
        ({"schedule": {"kind": "step", "milestones": [0.5, 0.2]}}, "/schedule/milestones", "not_ascending"),
        ({"record": {"measures": ["heat"]}}, "/record/measures/0", "literal_error"),
        ({"tags": ["no spaces"]}, "/tags/0", "string_pattern_mismatch"),
        ({"seed": -1}, "/seed", "greater_than_equal"),
    ],
)
def test_a_wrong_field_is_pointed_at_and_nothing_is_queued(
    ada: TestClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    assert faults(ada, DIGITS | change) == {pointer: code}


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"task": "regression"}, "/task", "unknown_task"),
        ({"colour": "red"}, "/colour", "extra_forbidden"),
        ({"dataset": {"kind": "digits"}}, "/dataset", "extra_forbidden"),
        ({"objective": {"kind": "riesz", "s": -1}}, "/objective/s", "greater_than_equal"),
        ({"objective": {"kind": "magic"}}, "/objective", "union_tag_invalid"),
        ({"n": 0}, "/n", "greater_than_equal"),
        ({"n": 1}, "/n", "objective_does_not_fit"),
        ({"n": 1000, "d": 1000}, "/n", "too_many_coordinates"),
        ({"d": 1}, "/d", "greater_than_equal"),
        ({"starts": 0}, "/starts", "greater_than_equal"),
        ({"limits": {"max_attempts": 0}}, "/limits/max_attempts", "greater_than_equal"),
    ],
)
def test_a_wrong_field_of_points_is_pointed_at(
    ada: TestClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    assert faults(ada, POINTS | change) == {pointer: code}


def test_a_missing_field_is_pointed_at(ada: TestClient) -> None:
    assert faults(ada, {key: value for key, value in DIGITS.items() if key != "dataset"}) == {"/dataset": "missing"}


def test_every_wrong_field_is_named_at_once(ada: TestClient) -> None:
    assert set(faults(ada, DIGITS | {"seed": -1, "colour": "red"})) == {"/seed", "/colour"}


def test_a_body_that_is_no_object_is_refused(ada: TestClient) -> None:
    assert faults(ada, [1, 2]) == {"": "model_attributes_type"}


def test_a_data_set_without_its_files_says_where_it_looked_and_how_to_get_it(
    ada: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path))
    settings.settings.cache_clear()
    assert faults(ada, DIGITS | {"dataset": {"kind": "mnist"}}) == {"/dataset": "dataset_not_found"}
    detail = ada.post("/v1/jobs", json=DIGITS | {"dataset": {"kind": "mnist"}}).json()["errors"][0]["detail"]
    assert str(tmp_path) in detail
    assert "HSU_ALLOW_DOWNLOAD" in detail


def test_a_data_set_that_may_be_downloaded_is_accepted(
    ada: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HSU_ALLOW_DOWNLOAD", "true")
    settings.settings.cache_clear()
    assert submit(ada, dataset={"kind": "mnist"})["state"] == "queued"


def test_redis_may_be_away_and_the_job_is_queued_all_the_same(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSU_REDIS_URL", "redis://127.0.0.1:1/0")
    settings.settings.cache_clear()
    assert submit(ada)["state"] == "queued"


def test_a_job_of_another_does_not_exist_but_an_admin_sees_it(
    ada: TestClient, as_user: Callable[..., TestClient]
) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    bo = as_user("bo")
    for answer in (bo.get(url), bo.post(f"{url}/cancel"), bo.get(f"{url}/curves"), bo.get("/v1/jobs/999999")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert as_user("root", Role.ADMIN).get(url).status_code == 200


def test_a_viewer_reads_but_does_not_change(ada: TestClient, as_user: Callable[..., TestClient]) -> None:
    job = submit(ada)
    viewer = as_user("ada", Role.VIEWER)
    assert viewer.get(f"/v1/jobs/{job['id']}").status_code == 200
    for answer in (viewer.post("/v1/jobs", json=DIGITS), viewer.post(f"/v1/jobs/{job['id']}/cancel")):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("change", "near", "how"),
    [
        ({"model": {"kind": "smal_cnn"}}, "did you mean small_cnn? ", ". A plug-in can bring it (docs/plugins.md)"),
        (
            {"dataset": {"kind": "fashion_mnist"}},
            "did you mean fashion-mnist? ",
            ". `hsu data add` or a plug-in can bring it (docs/plugins.md)",
        ),
        ({"regularizer": {"kind": "zzz"}}, "here; there are none, mhe, ", ". A plug-in can bring it (docs/plugins.md)"),
    ],
)
def test_a_kind_that_is_not_here_is_refused_with_what_is_near_and_how_it_can_be_brought(
    ada: TestClient, change: dict[str, Any], near: str, how: str
) -> None:
    for answer in (
        ada.post("/v1/jobs", json=DIGITS | change),
        ada.post("/v1/jobs/bulk", json={"jobs": [DIGITS | change]}),
    ):
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert near in fault["detail"]
        assert fault["detail"].endswith(how)
        assert fault["code"] == "union_tag_invalid"
