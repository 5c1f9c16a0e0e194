"""The Idempotency-Key: what is asked again is done once and answered as it was."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS

from hsu_jobs import database, queries, settings
from hsu_jobs.access import idempotency

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


def ids(client: TestClient) -> list[int]:
    return [job["id"] for job in client.get("/v1/jobs").json()["jobs"]]


def test_the_same_request_makes_one_job_and_gets_the_very_same_answer(ada: TestClient) -> None:
    first, again = (ada.post("/v1/jobs", json=DIGITS, headers=KEY) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert (first.content, first.headers["location"]) == (again.content, again.headers["location"])
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert ids(ada) == [first.json()["id"]]


def test_a_key_in_quotes_is_the_same_key(ada: TestClient) -> None:
    for key in ("k", '"k"'):
        assert ada.post("/v1/jobs", json=DIGITS, headers={"Idempotency-Key": key}).status_code == 201
    assert len(ids(ada)) == 1


def test_the_answer_is_kept_as_it_was_whatever_became_of_the_job(ada: TestClient) -> None:
    first = ada.post("/v1/jobs", json=DIGITS, headers=KEY)
    ada.post(f"{first.headers['location']}/cancel")
    assert ada.post("/v1/jobs", json=DIGITS, headers=KEY).json()["state"] == "queued"


def test_the_same_key_with_another_body_is_refused(ada: TestClient) -> None:
    ada.post("/v1/jobs", json=DIGITS, headers=KEY)
    answer = ada.post("/v1/jobs", json=DIGITS | {"seed": 1}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert len(ids(ada)) == 1


def test_the_same_key_for_another_resource_is_refused(ada: TestClient) -> None:
    made = ada.post("/v1/jobs", json=DIGITS, headers=KEY).json()
    answer = ada.post(f"/v1/jobs/{made['id']}/retry", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")


def test_a_retry_with_a_key_comes_once(ada: TestClient) -> None:
    url = ada.post("/v1/jobs", json=DIGITS).headers["location"]
    ada.post(f"{url}/cancel")
    first, again = (ada.post(f"{url}/retry", headers=KEY) for _ in range(2))
    assert first.json() == again.json()
    assert len(ids(ada)) == 2


def test_a_refused_request_may_be_corrected_under_the_same_key(ada: TestClient) -> None:
    refused = ada.post("/v1/jobs", json=DIGITS | {"batch_size": 0}, headers=KEY)
    assert refused.status_code == 422
    assert ada.post("/v1/jobs", json=DIGITS, headers=KEY).status_code == 201


def test_two_users_may_use_the_same_key(as_user: Callable[[str], TestClient]) -> None:
    made = {as_user(name).post("/v1/jobs", json=DIGITS, headers=KEY).json()["id"] for name in ("ada", "bo")}
    assert len(made) == 2


def test_while_the_first_is_under_way_the_second_is_told_so(ada: TestClient) -> None:
    with database.transaction() as session:
        owner = session.execute(queries.user_by_name("ada")).scalar_one()
        asked = idempotency.Request(owner.id, KEY["Idempotency-Key"], b"")
        idempotency.stored(session, asked, keep=settings.settings().idempotency_keep)
        answer = ada.post("/v1/jobs", json=DIGITS, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "request_under_way")
    assert ada.post("/v1/jobs", json=DIGITS, headers=KEY).status_code == 201


def test_many_at_once_make_one_job(ada: TestClient) -> None:
    def submit(_: int) -> int:
        return ada.post("/v1/jobs", json=DIGITS, headers=KEY).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(submit, range(16)))
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert len(ids(ada)) == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_cannot_be_one_is_a_bad_request(ada: TestClient, key: str) -> None:
    answer = ada.post("/v1/jobs", json=DIGITS, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
