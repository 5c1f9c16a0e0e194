"""Who changed what: a line for all that was done or refused, and for keys that open nothing any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS
from sqlalchemy import update

from api.routes import submissions
from hsu_jobs import database
from hsu_jobs.access import audit
from hsu_jobs.tables import AuditRow, Job


def entries(root: TestClient, **chosen: Any) -> list[dict[str, Any]]:
    answer = root.get("/v1/audit", params=chosen)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


def test_a_change_is_written_down_with_who_what_and_from_where(ada: TestClient, root: TestClient) -> None:
    job = ada.post("/v1/jobs", json=DIGITS, headers={"X-Request-Id": "mine"}).json()
    ada.post(f"/v1/jobs/{job['id']}/cancel")
    cancelled, submitted = entries(root)
    prefix = ada.headers["authorization"].split("_")[1]
    assert {**submitted, "id": 0, "at": ""} == {
        "id": 0, "at": "", "user": "ada", "key_prefix": prefix, "address": "testclient", "request_id": "mine",
        "action": "POST /v1/jobs", "subject": {"location": f"/v1/jobs/{job['id']}"}, "status": 201,
    }  # fmt: skip
    assert (cancelled["action"], cancelled["status"]) == ("POST /v1/jobs/{job_id}/cancel", 202)
    assert cancelled["subject"] == {"job_id": str(job["id"])}


def test_what_was_refused_is_written_down_too(ada: TestClient, root: TestClient) -> None:
    ada.post("/v1/jobs", json={})
    ada.patch("/v1/users/ada", json={"share": 9})
    ada.post("/v1/jobs/12345/cancel")
    assert [entry["status"] for entry in entries(root, user="ada")] == [404, 403, 422]


def test_reading_leaves_no_line(ada: TestClient, root: TestClient) -> None:
    ada.get("/v1/jobs")
    ada.get("/v1/jobs/12345")
    assert entries(root) == []


def test_a_refused_key_is_written_down_if_it_was_one(ada: TestClient, root: TestClient, http: TestClient) -> None:
    made = ada.post("/v1/keys", json={"role": "viewer"}).json()
    ada.delete(f"/v1/keys/{made['id']}")
    for key in (made["key"], "hsu_0_0"):
        assert http.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    newest = entries(root)[0]
    assert (newest["key_prefix"], newest["action"], newest["status"]) == (made["prefix"], "GET /v1/jobs", 401)
    assert len(entries(root)) == 3


def test_no_line_holds_a_secret(ada: TestClient, root: TestClient) -> None:
    made = ada.post("/v1/keys", json={}).json()
    assert made["key"] not in root.get("/v1/audit").text


def test_a_line_and_what_it_tells_of_are_one_transaction(
    ada: TestClient, root: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(submissions, "created", fail)
    assert ada.post("/v1/jobs", json=DIGITS).status_code == 500
    assert [entry["status"] for entry in entries(root)] == [500]
    with database.transaction() as session:
        assert session.query(Job).count() == 0


def test_it_pages_from_the_newest_and_can_be_narrowed(ada: TestClient, root: TestClient) -> None:
    for _ in range(3):
        ada.post("/v1/jobs", json=DIGITS)
    root.patch("/v1/users/ada", json={"share": 2})
    first = root.get("/v1/audit", params={"limit": 3}).json()
    second = root.get("/v1/audit", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    ids = [entry["id"] for entry in first["entries"] + second["entries"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second["next_cursor"]) == (4, None)
    assert len(entries(root, user="ada", action="POST /v1/jobs")) == 3
    assert len(entries(root, user="root")) == 1
    assert entries(root, since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    assert len(entries(root, since=(datetime.now(UTC) - timedelta(hours=1)).isoformat())) == 4


@pytest.mark.parametrize("since", ["yesterday", "1764063000", "2026-11-25T09:30:00"])
def test_a_time_that_is_none_is_a_bad_request(root: TestClient, since: str) -> None:
    answer = root.get("/v1/audit", params={"since": since})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#query/since")


def test_it_is_for_admins(ada: TestClient) -> None:
    assert ada.get("/v1/audit").status_code == 403


def test_old_lines_are_forgotten(ada: TestClient, root: TestClient) -> None:
    ada.post("/v1/jobs", json=DIGITS)
    ada.post("/v1/jobs", json=DIGITS)
    oldest = entries(root)[-1]["id"]
    with database.transaction() as session:
        long_ago = datetime.now(UTC) - timedelta(days=400)
        session.execute(update(AuditRow).where(AuditRow.id == oldest).values(at=long_ago))
        session.execute(audit.outlived(timedelta(days=365)))
    assert oldest not in [entry["id"] for entry in entries(root)]
    assert len(entries(root)) == 1
