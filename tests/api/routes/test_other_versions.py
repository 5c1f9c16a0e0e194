"""States, wishes, roles and rows of another version are shown as they are stored, and end nobody else's list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.views import each_row
from api.views.jobs import JobView
from hsu_client.cli import render
from hsu_jobs import attempts, database, lifecycle, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.tables import Role

Submit = Callable[..., dict[str, Any]]


def write(statement: str, **values: object) -> None:
    with database.transaction() as session:
        session.execute(text(statement), values)


def counted() -> dict[str, int]:
    with database.transaction() as session:
        return dict(session.execute(text("SELECT loop, failures FROM row_failures")).all())


@pytest.fixture
def strange(ada: TestClient, submit: Submit) -> int:
    """A job in a state that only a newer version knows."""
    job: int = submit(ada)["id"]
    write("UPDATE jobs SET state = 'archived' WHERE id = :job", job=job)
    return job


def test_a_job_in_a_state_of_another_version_is_listed_and_shown(
    ada: TestClient, root: TestClient, submit: Submit, strange: int
) -> None:
    other = submit(ada)
    for client in (ada, root):
        listed = {job["id"]: job for job in client.get("/v1/jobs").json()["jobs"]}
        assert (listed[strange]["state"], listed[other["id"]]["state"]) == ("archived", "queued")
    seen = ada.get(f"/v1/jobs/{strange}").json()
    assert (seen["state"], seen["waiting"]) == ("archived", None)
    assert "archived" in render.line(seen)
    assert strange in other["duplicates"]
    quoted = ada.post("/v1/jobs?dry_run=true", json=other["spec"]).json()
    assert {"id": strange, "state": "archived"} in quoted["duplicates"]
    for part in ("events", "curves", "log", "checkpoints"):
        assert ada.get(f"/v1/jobs/{strange}/{part}").status_code in (200, 404), part


def test_no_move_leads_out_of_a_state_that_is_not_known(ada: TestClient, strange: int) -> None:
    for action, body in (("cancel", None), ("pause", None), ("resume", None), ("priority", {"priority": -1})):
        answer = ada.post(f"/v1/jobs/{strange}/{action}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")
        assert "a newer version of the service knows this state" in answer.json()["detail"]
    assert ada.post(f"/v1/jobs/{strange}/retry").status_code == 409
    assert ada.get(f"/v1/jobs/{strange}?wait=0.1").json()["state"] == "archived"


def test_a_wish_of_another_version_lets_nothing_start_and_can_be_taken_back_by_a_cancellation(
    ada: TestClient, submit: Submit
) -> None:
    job = submit(ada)["id"]
    write("UPDATE jobs SET wanted = 'hibernate' WHERE id = :job", job=job)
    assert ada.get("/v1/jobs").json()["jobs"][0]["wanted"] == "hibernate"
    assert ada.post(f"/v1/jobs/{job}/pause").status_code == 409
    assert ada.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_a_running_attempt_stops_for_a_wish_of_another_version_and_its_job_waits(
    ada: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    job = submit(ada)["id"]
    claim = start()
    write("UPDATE jobs SET wanted = 'hibernate' WHERE id = :job", job=job)
    with database.transaction() as session:
        wish, _ = attempts.renew(session, claim.token, lease=settings.settings().lease)
        assert wish.asks_to_stop
        attempts.release(session, claim.token, settings.settings())
    assert ada.get(f"/v1/jobs/{job}").json()["state"] == "queued"


def test_sweeps_go_on_beside_states_of_another_version(
    ada: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    """A live attempt at a job in an unknown state, and an overdue job with an unknown wish."""
    running, overdue, late = submit(ada)["id"], submit(ada)["id"], submit(ada)["id"]
    assert start().job_id == running
    write("UPDATE jobs SET state = 'archived' WHERE id = :job", job=running)
    write("UPDATE jobs SET wanted = 'hibernate' WHERE id = :job", job=overdue)
    write("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = ANY(:jobs)", jobs=[overdue, late])
    with database.transaction() as session:
        workers.register(session, "w", pool="default", devices=["cpu:0"], slots=1)
    with database.transaction() as session:
        assert sorted(lifecycle.expire_overdue(session)) == [overdue, late]
    submit(ada, priority=0)
    with database.transaction() as session:
        claiming.make_room(session, settings.settings())
    write("UPDATE attempts SET lease_expires_at = now() - interval '1 s'")
    with database.transaction() as session:
        assert attempts.expire(session, settings.settings()) == [running]
    assert ada.get(f"/v1/jobs/{running}").json()["state"] == "archived"
    assert counted() == {}


def test_a_key_of_a_role_of_another_version_is_listed_and_opens_nothing(
    ada: TestClient, root: TestClient, as_user: Callable[..., TestClient]
) -> None:
    made = ada.post("/v1/keys", json={"name": "strange"}).json()
    write("UPDATE api_keys SET role = 'auditor' WHERE id = :key", key=made["id"])
    strange = as_user("bob", Role.VIEWER)
    strange.headers["Authorization"] = f"Bearer {made['key']}"
    for path in ("/v1/jobs", "/v1/keys", "/metrics"):
        answer = strange.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert "a key of the role auditor" in answer.json()["detail"]
    assert strange.post("/v1/jobs", json={}).status_code == 401
    for client in (ada, root):
        roles = {key["id"]: key["role"] for key in client.get("/v1/keys").json()["keys"]}
        assert roles[made["id"]] == "auditor"
    assert ada.delete(f"/v1/keys/{made['id']}").status_code == 403
    assert root.delete(f"/v1/keys/{made['id']}").json()["role"] == "auditor"


def test_a_delivery_in_a_state_of_another_version_is_listed(ada: TestClient, submit: Submit) -> None:
    hook = ada.post("/v1/webhooks", json={"url": "https://8.8.8.8/", "events": ["submitted"]}).json()["id"]
    submit(ada)
    write("UPDATE deliveries SET state = 'parked'")
    (told,) = ada.get(f"/v1/webhooks/{hook}/deliveries").json()["deliveries"]
    assert (told["state"], told["next_attempt_at"]) == ("parked", None)


def test_an_outcome_that_is_no_object_is_shown_as_it_is(
    ada: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    job = submit(ada)["id"]
    start()
    write("UPDATE attempts SET outcome = CAST(:outcome AS jsonb)", outcome=json.dumps([1]))
    (attempt,) = ada.get(f"/v1/jobs/{job}").json()["attempts"]
    assert attempt["outcome"] == {"stored": [1]}


def test_a_row_that_cannot_be_shown_is_left_out_of_its_list_and_counted(
    ada: TestClient, root: TestClient, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = submit(ada)["id"], submit(ada)["id"]
    of = JobView.of

    def view(job: Any, **how: Any) -> JobView:
        if job.id == bad:
            raise ValueError("it cannot be shown")
        return of(job, **how)

    monkeypatch.setattr(JobView, "of", view)
    for client in (ada, root):
        first = client.get("/v1/jobs?sort=created&limit=1").json()
        assert first["jobs"] == []
        rest = client.get("/v1/jobs", params={"sort": "created", "cursor": first["next_cursor"]}).json()
        assert [job["id"] for job in rest["jobs"]] == [good]
    assert counted() == {"list of jobs": 2}
    assert 'hsu_row_failures_total{loop="list of jobs"} 2.0' in root.get("/metrics").text


def test_a_line_of_the_audit_log_that_cannot_be_shown_is_left_out(root: TestClient, ada: TestClient) -> None:
    ada.post("/v1/jobs", json={})
    ada.post("/v1/jobs", json={})
    write("UPDATE audit SET subject = '[1]' WHERE id = (SELECT min(id) FROM audit)")
    told = root.get("/v1/audit").json()["entries"]
    assert len(told) == 1
    assert counted() == {"audit log": 1}


def test_a_row_is_named_by_its_table_and_key(ada: TestClient, submit: Submit, caplog: Any) -> None:
    job = submit(ada)["id"]

    def fails(_: object) -> None:
        raise ValueError("bad")

    with database.transaction() as session:
        rows = session.execute(lifecycle.queries.job_by_id(job)).all()
        assert each_row.shown("list", rows, fails) == []
    assert f"list: jobs {job} failed and is skipped: bad" in caplog.text


def test_the_queue_shows_the_others_beside_a_job_that_cannot_be_placed(
    ada: TestClient, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsu_jobs.cluster import waiting

    bad, good = submit(ada)["id"], submit(ada)["id"]
    reason = waiting._reason

    def broken(pool: Any, owner: Any, job: Any, **how: Any) -> Any:
        if job.id == bad:
            raise ValueError("it cannot be placed")
        return reason(pool, owner, job, **how)

    monkeypatch.setattr(waiting, "_reason", broken)
    assert [place["job"] for place in ada.get("/v1/queue").json()["places"]] == [good]
    assert counted() == {"queue": 1}


@pytest.mark.parametrize("share", ["'NaN'", "'Infinity'", "1e-320", "0", "-1"])
def test_a_share_that_is_no_number_ends_nobodys_estimate(
    ada: TestClient, root: TestClient, submit: Submit, start: Callable[[], Claim], share: str
) -> None:
    submit(root)
    job = submit(ada)["id"]
    write(f"UPDATE users SET share = {share}, usage = 1000 WHERE name = 'root'")
    assert ada.get(f"/v1/jobs/{job}").json()["waiting"]["reason"] == "no_worker"
    assert ada.get("/v1/queue").status_code == 200
    assert {start().job_id, start().job_id} >= {job}


def test_a_user_who_ran_nothing_for_years_ends_nobodys_claims_and_lists(
    ada: TestClient, root: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    """0.5 to the power of 4,000 half-lives is below the smallest number, for which Postgres raises an error."""
    write("UPDATE users SET usage = 1000, usage_at = now() - interval '4000 days' WHERE name = 'root'")
    job = submit(ada)["id"]
    assert ada.get(f"/v1/jobs/{job}").json()["state"] == "queued"
    assert start().job_id == job
    usage = {user["name"]: user["usage"] for user in root.get("/v1/users").json()["users"]}
    assert usage["root"] < 1e-9


def test_a_quantity_that_cannot_be_read_leaves_the_others_in_the_metrics(
    root: TestClient, ada: TestClient, submit: Submit
) -> None:
    submit(ada)
    write("ALTER TABLE workers RENAME COLUMN slots TO slots_of_tomorrow")
    told = root.get("/metrics").text
    assert 'hsu_jobs_queued{pool="default"} 1.0' in told
    assert 'hsu_gpus_in_use{user="ada"} 0.0' in told
    assert counted() == {"metrics": 1}
