"""What is refused before it is queued, because it could not run here, or not for this key."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS

from hsu_jobs import database, settings, workers


@pytest.fixture
def machines(http: TestClient) -> None:
    """A pool with machines of 1 and 2 GPUs, and another with one of 4."""
    with database.transaction() as session:
        workers.register(session, "a", pool="default", devices=["cuda:0"], slots=1)
        workers.register(session, "b", pool="default", devices=["cuda:0", "cuda:1"], slots=4)
        workers.register(session, "c", pool="large", devices=[f"cuda:{n}" for n in range(4)], slots=4)


def fault(client: TestClient, status: int, **change: Any) -> dict[str, str]:
    """The one fault of a spec that is refused."""
    answer = client.post("/v1/jobs", json=DIGITS | change)
    assert answer.status_code == status, answer.text
    assert client.get("/v1/jobs").json()["jobs"] == []
    (found,) = answer.json()["errors"]
    return found


def test_more_gpus_than_any_machine_of_the_pool_has_are_refused_with_what_there_is(
    ada: TestClient, machines: None
) -> None:
    assert fault(ada, 422, resources={"gpus": 4}, batch_size=64) == {
        "pointer": "/resources/gpus",
        "code": "no_such_machine",
        "detail": "no machine of pool 'default' has 4 GPUs; the largest has 2",
    }
    answer = ada.post("/v1/jobs", json=DIGITS | {"resources": {"gpus": 4, "pool": "large"}, "batch_size": 64})
    assert answer.status_code == 201


def test_a_pool_that_no_worker_belongs_to_is_refused_with_those_that_there_are(ada: TestClient, machines: None) -> None:
    assert fault(ada, 422, resources={"pool": "lagre"}) == {
        "pointer": "/resources/pool",
        "code": "unknown_pool",
        "detail": "there is no pool 'lagre'; there are: default, large",
    }


def test_before_the_first_worker_came_everything_is_believed(ada: TestClient) -> None:
    asked = DIGITS | {"resources": {"gpus": 8, "pool": "later"}, "batch_size": 64}
    made = ada.post("/v1/jobs", json=asked).json()
    job = ada.get(f"/v1/jobs/{made['id']}").json()
    assert (job["gpus"], job["pool"], job["waiting"]["reason"]) == (8, "later", "no_worker")


def test_a_priority_above_that_of_members_is_for_admins(
    ada: TestClient, root: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fault(ada, 403, priority=1)
    assert (found["pointer"], found["code"]) == ("/priority", "priority_too_high")
    assert "0 at most, found 1" in found["detail"]
    assert root.post("/v1/jobs", json=DIGITS | {"priority": 100}).json()["priority"] == 100
    monkeypatch.setenv("HSU_MEMBER_PRIORITY", "5")
    settings.settings.cache_clear()
    assert ada.post("/v1/jobs", json=DIGITS | {"priority": 5}).status_code == 201


def test_more_gpus_than_the_owners_quota_are_refused(ada: TestClient, root: TestClient) -> None:
    assert root.patch("/v1/users/ada", json={"max_gpus": 1}).status_code == 200
    found = fault(ada, 403, resources={"gpus": 2}, batch_size=64)
    assert (found["pointer"], found["code"]) == ("/resources/gpus", "over_quota")
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 201


def test_every_fault_is_told_at_once(
    ada: TestClient, machines: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HSU_DATA_DIR", str(tmp_path))
    settings.settings.cache_clear()
    asked = DIGITS | {"resources": {"pool": "none"}, "dataset": {"kind": "mnist"}}
    answer = ada.post("/v1/jobs", json=asked)
    assert [found["pointer"] for found in answer.json()["errors"]] == ["/resources/pool", "/dataset"]
