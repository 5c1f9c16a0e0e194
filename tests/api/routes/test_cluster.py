"""The queue, the machines and the users over HTTP; what was saved of a job, and what happened to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from samples import ROOM

from hsu_core.spec import Checkpoint
from hsu_jobs import attempts, database, queries, settings
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import workers
from hsu_jobs.outcomes import Released
from hsu_jobs.tables import Role, User

Submit = Callable[..., dict[str, Any]]
Start = Callable[[], Claim]
Save = Callable[..., None]
AsUser = Callable[..., TestClient]


@pytest.fixture
def worker(http: TestClient) -> None:
    """A machine with one slot."""
    with database.transaction() as session:
        workers.register(session, ROOM.worker, pool=ROOM.pool, devices=ROOM.free, slots=1)


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def test_a_waiting_job_says_why_and_a_running_one_does_not(
    ada: TestClient, submit: Submit, start: Start, worker: None
) -> None:
    first, second = (f"/v1/jobs/{submit(ada)['id']}" for _ in range(2))
    start()
    assert ada.get(first).json()["waiting"] is None
    assert ada.get(second).json()["waiting"] == {
        "reason": "machine_busy",
        "detail": "it is next; 1 of 1 slots are in use",
        "ahead": 0,
        "starts_in": None,
    }
    assert [job["waiting"] for job in ada.get("/v1/jobs").json()["jobs"]] == [None, None]


def test_an_attempt_tells_what_it_holds_and_where_it_began(
    ada: TestClient, submit: Submit, start: Start, save: Save, worker: None
) -> None:
    job = submit(ada)["id"]
    claim = start()
    save(claim, 4)
    with database.transaction() as session:
        workers.drain(session, ROOM.worker, now=True)
        attempts.release(session, claim.token, settings.settings())
        workers.restore(session, ROOM.worker)
    again = start()
    with database.transaction() as session:
        (kept,) = session.execute(queries.checkpoints_of(job)).scalars()
        attempts.begin(session, again.token, kept)
    first, second = ada.get(f"/v1/jobs/{job}").json()["attempts"]
    assert (first["gpus"], first["resumed_from"], first["stop"], first["step"]) == (1, None, "drain", 4)
    assert first["progress_at"] is not None
    assert (second["resumed_from"], second["stop"], second["progress_at"]) == (4, None, None)


def test_the_queue_is_told_in_order_and_of_others_only_what_explains_it(
    ada: TestClient, as_user: AsUser, root: TestClient, submit: Submit, start: Start, worker: None
) -> None:
    running = submit(ada)["id"]
    start()
    bo = as_user("bo")
    mine, theirs = submit(ada, name="mine")["id"], submit(bo, name="secret")["id"]
    queue = ada.get("/v1/queue").json()
    (pool,) = queue["pools"]
    counted = {name: pool[name] for name in ("name", "workers", "slots", "busy", "waiting", "largest", "typical")}
    assert list(counted.values()) == ["default", 1, 1, 1, 2, 1, None]
    places = {place["job"]: place for place in queue["places"]}
    assert sorted(places) == sorted({mine, theirs})
    assert running not in places
    assert sorted(place["position"] for place in places.values()) == [1, 2]
    assert (places[mine]["owner"], places[mine]["name"]) == ("ada", "mine")
    assert [places[theirs][name] for name in ("owner", "name", "detail")] == [None, None, None]
    assert places[theirs]["priority"] == 0
    assert "secret" not in ada.get("/v1/queue").text
    assert {place["name"] for place in root.get("/v1/queue").json()["places"]} == {"mine", "secret"}


def test_a_queue_can_be_of_one_pool_and_cut_short(ada: TestClient, submit: Submit) -> None:
    for pool in ("a", "a", "b"):
        submit(ada, resources={"pool": pool})
    assert [pool["name"] for pool in ada.get("/v1/queue").json()["pools"]] == ["a", "b"]
    assert [place["position"] for place in ada.get("/v1/queue").json()["places"]] == [1, 2, 1]
    short = ada.get("/v1/queue", params={"pool": "a", "limit": 1}).json()
    assert ([pool["name"] for pool in short["pools"]], len(short["places"])) == (["a"], 1)
    assert ada.get("/v1/queue", params={"pool": "elsewhere"}).json() == {"pools": [], "places": []}
    assert refused(ada.get("/v1/queue", params={"pool": "no spaces", "limit": 0}), 400, "bad_request")


def test_workers_tell_what_they_have_and_what_is_in_use(
    ada: TestClient, submit: Submit, start: Start, worker: None
) -> None:
    submit(ada)
    start()
    (seen,) = ada.get("/v1/workers").json()["workers"]
    assert seen == ada.get("/v1/workers/w").json()
    expected = {"name": "w", "pool": "default", "devices": ["cpu:0"], "slots": 1, "busy": 1, "duty": "active"}
    expected |= {"plugins": None, "broken_plugins": []}
    assert expected | {"is_there": True, "faults": 0, "holding": None, "datasets": None, "lacks": []} == {
        name: value for name, value in seen.items() if not name.endswith("_at")
    }
    assert "there are: w" in refused(ada.get("/v1/workers/x"), 404, "not_found")


def test_an_admin_drains_a_worker_and_restores_it(
    ada: TestClient, root: TestClient, submit: Submit, start: Start, worker: None
) -> None:
    job = f"/v1/jobs/{submit(ada)['id']}"
    start()
    drained = root.post("/v1/workers/w/drain")
    assert (drained.status_code, drained.json()["duty"], drained.json()["busy"]) == (202, "draining", 1)
    assert ada.get(job).json()["attempts"][0]["stop"] is None
    root.post("/v1/workers/w/drain", json={"now": True})
    assert ada.get(job).json()["attempts"][0]["stop"] == "drain"
    assert root.post("/v1/workers/w/restore").json()["duty"] == "active"


@pytest.mark.parametrize("action", ["drain", "restore"])
def test_only_an_admin_changes_a_worker_and_only_one_that_is_there(
    ada: TestClient, root: TestClient, worker: None, action: str
) -> None:
    assert "found a member's" in refused(ada.post(f"/v1/workers/w/{action}"), 403, "forbidden")
    assert "there are: w" in refused(root.post(f"/v1/workers/x/{action}"), 404, "not_found")
    assert ada.get("/v1/workers/w").json()["duty"] == "active"


def test_a_wrong_way_to_drain_is_pointed_at(root: TestClient, worker: None) -> None:
    answer = root.post("/v1/workers/w/drain", json={"when": "now"})
    refused(answer, 422, "invalid_spec")
    assert answer.json()["errors"][0]["pointer"] == "/when"
    assert root.get("/v1/workers/w").json()["duty"] == "active"


def test_users_see_themselves_and_an_admin_everybody(
    ada: TestClient, as_user: AsUser, root: TestClient, submit: Submit, start: Start
) -> None:
    as_user("bo", Role.VIEWER)
    submit(ada)
    start()
    (seen,) = ada.get("/v1/users").json()["users"]
    assert [seen[name] for name in ("name", "share", "max_gpus", "gpus")] == ["ada", 1.0, None, 1]
    assert seen["usage"] >= 0
    assert [user["name"] for user in root.get("/v1/users").json()["users"]] == ["ada", "bo", "root"]


def test_usage_counts_the_time_that_gpus_were_held(ada: TestClient, submit: Submit, start: Start) -> None:
    submit(ada)
    claim = start()
    with database.transaction() as session:
        attempts.settle(session, claim.token, Released(), settings.settings())
    (user,) = ada.get("/v1/users").json()["users"]
    assert user["gpus"] == 0
    assert user["usage"] > 0


def test_an_admin_changes_a_share_and_a_quota_each_by_itself(ada: TestClient, root: TestClient) -> None:
    assert root.patch("/v1/users/ada", json={"share": 2.5}).json()["share"] == 2.5
    changed = root.patch("/v1/users/ada", json={"max_gpus": 3}).json()
    assert (changed["share"], changed["max_gpus"]) == (2.5, 3)
    assert root.patch("/v1/users/ada", json={"max_gpus": None}).json()["max_gpus"] is None
    assert root.patch("/v1/users/ada", json={}).json()["share"] == 2.5


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"share": 0}, "/share"),
        ({"share": "Infinity"}, "/share"),
        ({"share": None}, "/share"),
        ({"max_gpus": -1}, "/max_gpus"),
        ({"gpus": 5}, "/gpus"),
    ],
)
def test_a_wrong_change_of_a_user_is_pointed_at(
    ada: TestClient, root: TestClient, change: dict[str, Any], pointer: str
) -> None:
    answer = root.patch("/v1/users/ada", json=change)
    refused(answer, 422, "invalid_spec")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_only_an_admin_changes_users_and_only_those_that_there_are(ada: TestClient, root: TestClient) -> None:
    refused(ada.patch("/v1/users/ada", json={"share": 9}), 403, "forbidden")
    refused(root.patch("/v1/users/nobody", json={"share": 9}), 404, "not_found")


def test_checkpoints_are_those_kept_and_on_request_those_removed(
    ada: TestClient, as_user: AsUser, submit: Submit, start: Start, save: Save
) -> None:
    job = submit(ada)["id"]
    url = f"/v1/jobs/{job}/checkpoints"
    assert ada.get(url).json() == {"job": job, "checkpoints": []}
    claim = start()
    for step in (2, 4, 6):
        save(claim, step, metric=0.25 if step == 4 else None)
    with database.transaction() as session:
        checkpoints.give_up_surplus(session, job, Checkpoint(keep_last=1, keep_best=True))
    six, four = ada.get(url).json()["checkpoints"]
    assert (six["step"], six["attempt"], six["bytes"], six["sha256"]) == (6, 1, 1006, "ab" * 32)
    assert (six["metric"], six["is_best"], six["removed_at"]) == (None, False, None)
    assert (four["step"], four["metric"], four["is_best"]) == (4, 0.25, True)
    every = ada.get(url, params={"removed": True}).json()["checkpoints"]
    assert [(row["step"], row["removed_because"]) for row in every] == [(6, None), (4, None), (2, "superseded")]
    refused(as_user("bo").get(url), 404, "not_found")


def test_events_tell_what_happened_page_by_page(
    ada: TestClient, as_user: AsUser, submit: Submit, start: Start, save: Save
) -> None:
    job = submit(ada)["id"]
    url = f"/v1/jobs/{job}/events"
    claim = start()
    save(claim, 3)
    ada.post(f"/v1/jobs/{job}/cancel")
    with database.transaction() as session:
        attempts.release(session, claim.token, settings.settings())
    every = ada.get(url).json()
    assert [seen["event"]["kind"] for seen in every["events"]] == ["submitted", "started", "saved", "asked", "ended"]
    assert every["events"][1]["event"] == {"kind": "started", "attempt": 1, "worker": "w", "device": "cpu:0"}
    assert every["next_cursor"] is None
    first = ada.get(url, params={"limit": 2}).json()
    rest = ada.get(url, params={"cursor": first["next_cursor"]}).json()
    assert first["events"] + rest["events"] == every["events"]
    refused(ada.get(url, params={"cursor": "soon"}), 400, "bad_request")
    refused(as_user("bo").get(url), 404, "not_found")


@pytest.mark.parametrize("path", ["queue", "workers", "workers/w", "users", "jobs/1/log", "jobs/1/checkpoints"])
def test_without_a_key_nothing_is_told(http: TestClient, path: str) -> None:
    refused(http.get(f"/v1/{path}"), 401, "unauthorized")


def test_whatever_the_openapi_document_refers_to_is_there(http: TestClient) -> None:
    answer = http.get("/openapi.json")
    named = set(re.findall(r'"\$ref": ?"([^"]+)"', answer.text))
    components = answer.json()["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in components[kind]}
    assert "#/components/schemas/Fault" in named
    assert named <= there


def test_the_openapi_document_tells_of_every_response(http: TestClient) -> None:
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            if path.startswith("/v1/"):
                assert "401" in operation["responses"], (method, path)
            if "{job_id}" in path:
                assert "404" in operation["responses"], (method, path)


@pytest.mark.parametrize("name", ["a/b", "a b", "a?b#c", "ü", "x/drain", "100%", "w" * 900])
def test_workers_and_users_whose_names_were_stored_before_there_was_a_rule_can_be_reached(
    root: TestClient, name: str
) -> None:
    with database.transaction() as session:
        workers.register(session, name, pool="odd/pool", devices=["cpu:0"], slots=1)
        session.add(User(name=name))
    there = quote(name, safe="")
    assert root.get(f"/v1/workers/{there}").json()["name"] == name
    assert root.post(f"/v1/workers/{there}/drain").json()["duty"] == "draining"
    assert root.post(f"/v1/workers/{there}/restore").json()["duty"] == "active"
    assert root.patch(f"/v1/users/{there}", json={"share": 2}).json()["share"] == 2
