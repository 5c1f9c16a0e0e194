"""What may be asked of a job over HTTP, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from redis import Redis
from samples import DIGITS
from waiting import until

from hsu_core.spec import Checkpoint
from hsu_jobs import attempts, database, settings
from hsu_jobs.artifacts import checkpoints, installation
from hsu_jobs.attempts import Claim
from hsu_jobs.tables import Role

Submit = Callable[..., dict[str, Any]]
Start = Callable[[], Claim]
Save = Callable[..., None]


def refused(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    return problem


def release(claim: Claim) -> None:
    """Stop as it was asked to."""
    with database.transaction() as session:
        attempts.release(session, claim.token, settings.settings())


def rung(redis_url: str) -> list[str]:
    with Redis.from_url(redis_url) as redis:
        return [json.loads(message)["headers"]["argsrepr"] for message in redis.lrange("hsu", 0, -1)]


def test_a_waiting_job_pauses_at_once_and_resumes(ada: TestClient, submit: Submit, redis_url: str) -> None:
    job = submit(ada)
    until(lambda: rung(redis_url) == [f"({job['id']},)"])
    url = f"/v1/jobs/{job['id']}"
    paused = ada.post(f"{url}/pause")
    assert (paused.status_code, paused.json()["state"], paused.json()["waiting"]) == (202, "paused", None)
    resumed = ada.post(f"{url}/resume")
    assert (resumed.status_code, resumed.json()["state"], resumed.json()["wanted"]) == (200, "queued", "run")
    assert resumed.json()["waiting"]["reason"] == "no_worker"
    until(lambda: rung(redis_url) == [f"({job['id']},)"] * 2)


def test_a_running_job_pauses_once_its_attempt_has_stopped(ada: TestClient, submit: Submit, start: Start) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    claim = start()
    asked = ada.post(f"{url}/pause").json()
    assert (asked["state"], asked["wanted"]) == ("running", "pause")
    release(claim)
    job = ada.get(url).json()
    assert (job["state"], job["attempts"][0]["outcome"]["kind"]) == ("paused", "paused")


@pytest.mark.parametrize(
    ("before", "action", "state", "legal"),
    [
        ([], "resume", "queued", ["cancel", "fork", "pause", "prioritise"]),
        ([], "retry", "queued", ["cancel", "fork", "pause", "prioritise"]),
        (["cancel"], "cancel", "cancelled", ["fork", "retry"]),
        (["cancel"], "pause", "cancelled", ["fork", "retry"]),
        (["cancel"], "priority", "cancelled", ["fork", "retry"]),
        (["pause"], "retry", "paused", ["cancel", "fork", "pause", "prioritise", "resume"]),
    ],
)
def test_an_illegal_move_says_what_the_job_is_and_what_is_possible(
    ada: TestClient, submit: Submit, before: list[str], action: str, state: str, legal: list[str]
) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    for earlier in before:
        ada.post(f"{url}/{earlier}")
    body = {"priority": -1} if action == "priority" else None
    problem = refused(ada.post(f"{url}/{action}", json=body), 409, "illegal_move")
    assert (problem["state"], problem["legal"]) == (state, legal)
    assert f"the job is {state}" in problem["detail"]
    assert ada.get(url).json()["state"] == state


def test_a_running_job_cannot_be_resumed(ada: TestClient, submit: Submit, start: Start) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    start()
    assert refused(ada.post(f"{url}/resume"), 409, "illegal_move")["state"] == "running"


def test_the_priority_of_a_job_changes_within_what_the_key_may_ask_for(
    ada: TestClient, root: TestClient, submit: Submit
) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}"
    assert ada.post(f"{url}/priority", json={"priority": -5}).json()["priority"] == -5
    assert root.post(f"{url}/priority", json={"priority": 50}).json()["priority"] == 50
    problem = refused(ada.post(f"{url}/priority", json={"priority": 1}), 403, "forbidden")
    assert problem["errors"][0] | {"detail": ""} == {"pointer": "/priority", "code": "priority_too_high", "detail": ""}
    assert ada.get(url).json()["priority"] == 50


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("priority", {}, "/priority"),
        ("priority", {"priority": 101}, "/priority"),
        ("priority", {"priority": 1, "soon": True}, "/soon"),
        ("fork", {"step": -1}, "/step"),
        ("fork", {"change": []}, "/change"),
        ("fork", {"from": 3}, "/from"),
    ],
)
def test_a_wrong_body_is_pointed_at(ada: TestClient, submit: Submit, action: str, body: object, pointer: str) -> None:
    problem = refused(ada.post(f"/v1/jobs/{submit(ada)['id']}/{action}", json=body), 422, "invalid_spec")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


@pytest.fixture
def trained(ada: TestClient, submit: Submit, start: Start, save: Save) -> int:
    """A running job with checkpoints of steps 3 and 6, and one of step 1 that was removed."""
    job: int = submit(ada)["id"]
    claim = start()
    for step in (1, 3, 6):
        save(claim, step, metric=0.5 if step == 3 else None)
    with database.transaction() as session:
        checkpoints.give_up_surplus(session, job, Checkpoint(keep_last=2))
    return job


def test_a_fork_goes_on_from_the_newest_checkpoint_with_a_changed_spec(ada: TestClient, trained: int) -> None:
    answer = ada.post(f"/v1/jobs/{trained}/fork", json={"change": {"regularizer": {"kind": "comhe"}, "name": "fork"}})
    assert answer.status_code == 201, answer.text
    fork = answer.json()
    assert (fork["state"], fork["name"], fork["parent"]) == ("queued", "fork", {"id": trained, "step": 6})
    assert fork["spec"]["regularizer"]["kind"] == "comhe"
    assert fork["spec"]["optimizer"]["lr"] == 0.1
    assert ada.get(answer.headers["location"]).json() == fork


def test_a_fork_may_begin_from_a_chosen_checkpoint_and_comes_once_for_a_key(ada: TestClient, trained: int) -> None:
    url, key = f"/v1/jobs/{trained}/fork", {"Idempotency-Key": "f"}
    first, again = (ada.post(url, json={"step": 3}, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"]
    assert first["parent"] == {"id": trained, "step": 3}
    other = ada.post(url, json={"step": 3, "change": {"seed": 5}}, headers=key)
    refused(other, 422, "idempotency_conflict")


def test_a_fork_from_a_checkpoint_that_was_removed_says_which_there_are(ada: TestClient, trained: int) -> None:
    url = f"/v1/jobs/{trained}/fork"
    gone = refused(ada.post(url, json={"step": 1}), 410, "gone")
    assert "there are those of steps 3, 6" in gone["detail"]
    assert "those of steps 3, 6" in refused(ada.post(url, json={"step": 2}), 404, "not_found")["detail"]


def test_a_fork_from_a_file_that_the_storage_lacks_is_refused_and_while_it_is_away_the_row_is_believed(
    ada: TestClient, trained: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(tmp_path / "artifacts"))
    settings.settings.cache_clear()
    assert ada.post(f"/v1/jobs/{trained}/fork", json={}).status_code == 201
    with database.transaction() as session:
        installation.storage(session, settings.settings()).mark()
    problem = refused(ada.post(f"/v1/jobs/{trained}/fork", json={}), 410, "gone")
    assert "that of step 6 was lost: its file is missing" in problem["detail"]


def test_a_job_may_start_from_the_weights_of_a_checkpoint_that_its_owner_may_see(
    ada: TestClient, as_user: Callable[[str], TestClient], trained: int
) -> None:
    def asked(job: int, step: int) -> dict[str, object]:
        return DIGITS | {"initial": {"kind": "job", "job": job, "step": step}}

    made = ada.post("/v1/jobs", json=asked(trained, 3))
    assert made.status_code == 201, made.text
    assert made.json()["spec"]["initial"] == {"kind": "job", "job": trained, "step": 3, "leave": []}
    gone = refused(ada.post("/v1/jobs", json=asked(trained, 1)), 422, "invalid_spec")["errors"]
    assert [(fault["pointer"], fault["code"]) for fault in gone] == [("/initial/step", "checkpoint_not_found")]
    assert "there are those of steps 3, 6" in gone[0]["detail"]
    for client, job in ((ada, 10**6), (as_user("bob"), trained)):
        (fault,) = refused(client.post("/v1/jobs", json=asked(job, 3)), 422, "invalid_spec")["errors"]
        assert (fault["pointer"], fault["code"]) == ("/initial/job", "job_not_found")
    fork = ada.post(f"/v1/jobs/{made.json()['id']}/fork", json={})
    assert fork.status_code == 404  # it has no checkpoint of its own yet


def test_a_job_without_a_checkpoint_cannot_be_forked(ada: TestClient, submit: Submit) -> None:
    refused(ada.post(f"/v1/jobs/{submit(ada)['id']}/fork", json={}), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"regularizer": {"kind": "mhe", "q": 1}}, "/change/regularizer/q", "extra_forbidden"),
        ({"regularizer": {"kind": "magic"}}, "/change/regularizer", "union_tag_invalid"),
        ({"optimizer": {"lr": -1}}, "/change/optimizer/lr", "greater_than"),
        ({"colour": "red"}, "/change/colour", "extra_forbidden"),
        ({"batch_size": 5000}, "/change/batch_size", "batch_larger_than_dataset"),
        ({"model": {"kind": "small_cnn"}}, "/change/model", "does_not_fit_checkpoint"),
        ({"optimizer": {"kind": "adamw"}}, "/change/optimizer/kind", "does_not_fit_checkpoint"),
        ({"duration": {"epochs": None, "steps": 2}}, "/change/duration", "does_not_fit_checkpoint"),
    ],
)
def test_a_fork_with_a_wrong_change_is_pointed_at_and_not_queued(
    ada: TestClient, trained: int, change: dict[str, Any], pointer: str, code: str
) -> None:
    problem = refused(ada.post(f"/v1/jobs/{trained}/fork", json={"change": change}), 422, "invalid_spec")
    assert {fault["pointer"]: fault["code"] for fault in problem["errors"]} == {pointer: code}
    assert [job["id"] for job in ada.get("/v1/jobs").json()["jobs"]] == [trained]


def test_a_fork_is_admitted_by_the_rules_of_a_submission(ada: TestClient, root: TestClient, trained: int) -> None:
    change = {"change": {"priority": 10}}
    problem = refused(ada.post(f"/v1/jobs/{trained}/fork", json=change), 403, "forbidden")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/change/priority"]
    assert [job["id"] for job in ada.get("/v1/jobs").json()["jobs"]] == [trained]
    fork = root.post(f"/v1/jobs/{trained}/fork", json=change).json()
    assert (fork["priority"], fork["owner"]) == (10, "root")


def test_a_retry_goes_on_from_the_last_checkpoint_of_a_job_that_ended(
    ada: TestClient, submit: Submit, start: Start, save: Save, redis_url: str
) -> None:
    job = submit(ada)["id"]
    claim = start()
    save(claim, 4)
    ada.post(f"/v1/jobs/{job}/cancel")
    release(claim)
    key = {"Idempotency-Key": "again"}
    first, again = (ada.post(f"/v1/jobs/{job}/retry", headers=key) for _ in range(2))
    assert first.status_code == 201
    assert first.json()["parent"] == {"id": job, "step": 4}
    assert first.json()["id"] == again.json()["id"] == int(first.headers["location"].rpartition("/")[2])
    assert f"({first.json()['id']},)" in rung(redis_url)


def test_a_retry_of_a_job_without_a_checkpoint_begins_anew(ada: TestClient, submit: Submit) -> None:
    job = submit(ada)
    ada.post(f"/v1/jobs/{job['id']}/cancel")
    retried = ada.post(f"/v1/jobs/{job['id']}/retry").json()
    assert (retried["parent"], retried["fingerprint"]) == (None, job["fingerprint"])


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "priority", "fork", "retry"])
def test_nothing_can_be_asked_of_anothers_job_or_by_a_viewer(
    ada: TestClient, as_user: Callable[..., TestClient], submit: Submit, action: str
) -> None:
    url = f"/v1/jobs/{submit(ada)['id']}/{action}"
    body = {"priority": 0} if action == "priority" else {}
    refused(as_user("bo").post(url, json=body), 404, "not_found")
    refused(as_user("ada", Role.VIEWER).post(url, json=body), 403, "forbidden")


def test_the_openapi_document_names_what_an_action_may_end_in(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    assert {"201", "404", "410", "422"} <= set(paths["/v1/jobs/{job_id}/fork"]["post"]["responses"])
    problem = paths["/v1/jobs/{job_id}/pause"]["post"]["responses"]["409"]["content"]["application/problem+json"]
    assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert {"state", "legal"} <= set(schemas["Problem"]["properties"])


def test_the_spec_of_the_submission_stays_when_the_priority_changes(ada: TestClient, submit: Submit) -> None:
    job = submit(ada, priority=-1)
    changed = ada.post(f"/v1/jobs/{job['id']}/priority", json={"priority": -2}).json()
    assert (changed["priority"], changed["spec"]["priority"]) == (-2, -1)
    assert changed["spec"]["dataset"] == job["spec"]["dataset"]
    assert DIGITS["name"] == changed["name"]
