"""Rows that this version cannot read, as a newer one left them before a roll-back: shown as they are, alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, PLACED, TRAINED
from sending import claim
from sqlalchemy import select, text

from hsu_client.cli import render
from hsu_jobs import attempts, database, lifecycle, row_failures, settings
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.spec import parse
from hsu_jobs.tables import Role, RowFailure

Submit = Callable[..., dict[str, Any]]

STORED = parse(DIGITS).model_dump(mode="json")
"""A spec as this version stores it."""
SPECS = [
    json.dumps(STORED | {"version": 9}),
    json.dumps(STORED | {"version": "of tomorrow"}),
    json.dumps(STORED | {"regularizer": {"kind": "of_tomorrow"}}),
    json.dumps(STORED | {"batch_size": 10**9}),
    json.dumps(STORED | {"field_of_tomorrow": 1}),
    '{"task": "classification", "regularizer": {"kind": "of_tomorrow"}}',
    '{"task": "segmentation"}',
    '{"version": 2}',
    "{}",
    "[1]",
    '"text"',
    "null",
]


def write(statement: str, **values: object) -> None:
    with database.transaction() as session:
        session.execute(text(statement), values)


def spoil(job: int, spec: str) -> None:
    write("UPDATE jobs SET spec = CAST(:spec AS jsonb) WHERE id = :job", spec=spec, job=job)


@pytest.fixture
def strange(ada: TestClient, submit: Submit) -> int:
    """A queued job of ada's that only a newer version could read."""
    job: int = submit(ada)["id"]
    spoil(job, SPECS[0])
    return job


@pytest.mark.parametrize("spec", SPECS)
def test_a_job_whose_spec_cannot_be_read_is_listed_beside_the_others(
    ada: TestClient, root: TestClient, submit: Submit, spec: str
) -> None:
    strange, other = submit(ada)["id"], submit(ada)["id"]
    spoil(strange, spec)
    for client in (ada, root):
        listed = {job["id"]: job for job in client.get("/v1/jobs").json()["jobs"]}
        assert set(listed) == {strange, other}
        assert "cannot read the stored spec" in listed[strange]["spec_error"]
        assert listed[other]["spec_error"] is None
    seen = ada.get(f"/v1/jobs/{strange}").json()
    stored = json.loads(spec)
    assert seen["spec"] == (stored if isinstance(stored, dict) else {"stored": stored})
    assert (seen["state"], seen["waiting"]["reason"], seen["total_steps"]) == ("queued", "spec_not_readable", None)
    assert render.line(seen).startswith(f"job {strange} · queued · step 0 of ? · spec not readable")
    assert any(line.startswith("spec ") for line in render.details(seen))


def test_the_queue_shows_it_with_its_reason_and_counts_it_before_nobody(
    ada: TestClient, submit: Submit, strange: int
) -> None:
    behind = submit(ada)["id"]
    places = {place["job"]: place for place in ada.get("/v1/queue").json()["places"]}
    assert places[strange]["reason"] == "spec_not_readable"
    assert places[behind]["ahead"] == 0


def test_it_can_be_cancelled_paused_and_prioritised(ada: TestClient, submit: Submit, strange: int) -> None:
    assert ada.post(f"/v1/jobs/{strange}/pause").json()["state"] == "paused"
    assert ada.post(f"/v1/jobs/{strange}/resume").json()["waiting"]["reason"] == "spec_not_readable"
    assert ada.post(f"/v1/jobs/{strange}/priority", json={"priority": -1}).json()["priority"] == -1
    assert ada.post(f"/v1/jobs/{strange}/cancel").json()["state"] == "cancelled"
    assert ada.get(f"/v1/jobs/{strange}").json()["state"] == "cancelled"


def test_nothing_goes_on_from_it_and_the_answer_says_why(
    ada: TestClient, submit: Submit, start: Callable[[], Claim], save: Callable[..., None]
) -> None:
    job = submit(ada)["id"]
    save(start(), 5)
    ada.post(f"/v1/jobs/{job}/cancel")
    write("UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = :job", job=job)
    spoil(job, SPECS[0])
    for action, body in (("retry", None), ("fork", {}), ("fork", {"change": {"seed": 2}})):
        answer = ada.post(f"/v1/jobs/{job}/{action}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "spec_not_readable")


def test_its_curves_log_checkpoints_and_streams_are_those_of_any_job(
    ada: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    job = submit(ada)["id"]
    claim = start()
    with database.transaction() as session:
        attempts.settle(session, claim.token, Succeeded(result=TRAINED), settings.settings())
    spoil(job, SPECS[0])
    for part in ("curves", "log", "checkpoints", "events", "events/stream", "curves/stream"):
        assert ada.get(f"/v1/jobs/{job}/{part}").status_code == 200, part


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("result", {"task": "of_tomorrow", "score": [1]}, {"task": "of_tomorrow", "score": [1]}),
        ("result", TRAINED.model_dump(mode="json") | {"new": 1}, TRAINED.model_dump(mode="json") | {"new": 1}),
        ("result", {"task": "points", "value": "high"}, {"task": "points", "value": "high"}),
        ("result", [1], {"stored": [1]}),
        ("failure", {"code": "new", "message": "m", "hint": "h"}, {"code": "new", "message": "m"}),
        ("failure", "text", {"code": "unknown", "message": "text"}),
    ],
)
def test_a_result_or_failure_of_another_version_is_told_as_it_is(
    ada: TestClient, submit: Submit, column: str, value: object, shown: object
) -> None:
    job = submit(ada)["id"]
    set_it = f"UPDATE jobs SET {column} = CAST(:value AS jsonb) WHERE id = :job"
    write(set_it, value=json.dumps(value), job=job)
    assert ada.get(f"/v1/jobs/{job}").json()[column] == shown
    for query in ("", "?sort=-value", "?sort=test_loss", "?where=value:gt:1", "?where=gap:lt:1"):
        listed = ada.get(f"/v1/jobs{query}")
        assert listed.status_code == 200, listed.text
    assert ada.post("/v1/jobs?dry_run=true", json=submit(ada)["spec"]).status_code == 200


@pytest.mark.parametrize("value", ['"fast"', "1e400", "1e-400", "[1]", "{}"])
def test_a_number_that_is_none_sorts_last_and_bounds_no_quote(ada: TestClient, submit: Submit, value: str) -> None:
    strange, placed = submit(ada)["id"], submit(ada)["id"]
    write(
        "UPDATE jobs SET state = 'succeeded', result = jsonb_build_object('value', CAST(:value AS jsonb), "
        "'steps_per_second', CAST(:value AS jsonb)) WHERE id = :job",
        value=value,
        job=strange,
    )
    result = PLACED.model_dump_json()
    write("UPDATE jobs SET result = CAST(:result AS jsonb) WHERE id = :job", result=result, job=placed)
    for way in ("value", "-value"):
        assert [job["id"] for job in ada.get(f"/v1/jobs?sort={way}").json()["jobs"]] == [placed, strange]
    quoted = ada.post("/v1/jobs?dry_run=true", json=submit(ada)["spec"])
    assert quoted.json()["seconds_per_step"] is None


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"kind": "of_tomorrow", "more": {"a": 1}}, "of_tomorrow"),
        ({"kind": "started", "attempt": 1, "worker": "w", "device": "d", "rack": 7}, "started"),
        ({"kind": "ended", "attempt": 1, "state": "succeeded", "outcome": {"kind": "of_tomorrow"}}, "ended"),
        ({"no": "kind"}, "unknown"),
        ({"kind": "two\nlines"}, "two\nlines"),
        ([1], "unknown"),
    ],
)
def test_an_event_of_another_version_is_told_as_it_is_in_pages_and_streams(
    ada: TestClient, submit: Submit, event: object, kind: str
) -> None:
    job = submit(ada)["id"]
    write("INSERT INTO events (job_id, event) VALUES (:job, :event)", job=job, event=json.dumps(event))
    ada.post(f"/v1/jobs/{job}/cancel")
    first, strange, last = ada.get(f"/v1/jobs/{job}/events").json()["events"]
    stored = event if isinstance(event, dict) else {"stored": event}
    assert strange["event"] == stored | {"kind": kind}
    assert kind.split()[0] in render.event(strange)
    sent = ada.get(f"/v1/jobs/{job}/events/stream").text
    told = [json.loads(line.removeprefix("data: ")) for line in sent.splitlines() if line.startswith("data: ")]
    assert told[:3] == [first, strange, last]


@pytest.mark.parametrize("spec", SPECS)
def test_what_looks_at_many_jobs_goes_on_beside_it(
    ada: TestClient, root: TestClient, submit: Submit, start: Callable[[], Claim], spec: str
) -> None:
    """Quotes, filters, sweeps and messages, with one that runs and one that waits past its deadline."""
    hook = ada.post("/v1/webhooks", json={"url": "https://8.8.8.8/", "events": ["submitted"]}).json()["id"]
    running, late, other = submit(ada)["id"], submit(ada, limits={"deadline": 1000})["id"], submit(ada)
    assert start().job_id == running
    for job in (running, late):
        spoil(job, spec)
    quoted = ada.post("/v1/jobs?dry_run=true", json=other["spec"])
    assert {each["id"] for each in quoted.json()["duplicates"]} == {running, late, other["id"]}
    for query in ("?regularizer=mhe", "?sort=-test_accuracy", "?where=test_accuracy:gt:0", "?fields=id,spec"):
        assert ada.get(f"/v1/jobs{query}").status_code == 200, query
    write("UPDATE attempts SET lease_expires_at = now() - interval '1 s'")
    write("UPDATE jobs SET deadline_at = now() - interval '1 s' WHERE id = :job", job=late)
    with database.transaction() as session:
        assert attempts.expire(session, settings.settings()) == [running]
        assert lifecycle.expire_overdue(session) == [late]
        claiming.make_room(session, settings.settings())
    with database.transaction() as session:
        turn = claim(session, hook)
    assert turn is not None
    assert [json.loads(message.body)["job"]["id"] for message in turn.messages] == [running, late, other["id"]]
    assert root.get("/metrics").status_code == 200
    with database.transaction() as session:
        assert session.execute(select(RowFailure.loop)).all() == []


def test_failures_of_rows_are_counted_in_the_metrics(as_user: Callable[[str, Role], TestClient]) -> None:
    client = as_user("root", Role.ADMIN)
    for _ in range(2):
        row_failures.note("deadlines", "job 7", ValueError("bad"))
    assert 'hsu_row_failures_total{loop="deadlines"} 2.0' in client.get("/metrics").text


def test_a_stop_or_a_duty_of_another_version_is_told_as_it_is(
    ada: TestClient, root: TestClient, submit: Submit, start: Callable[[], Claim]
) -> None:
    job = submit(ada)["id"]
    with database.transaction() as session:
        for name in ("a", "b"):
            workers.register(session, name, pool="default", devices=["cpu:0"], slots=1)
    start()
    write("UPDATE attempts SET stop = 'of_tomorrow'")
    write("UPDATE workers SET duty = 'of_tomorrow' WHERE name = 'a'")
    assert ada.get(f"/v1/jobs/{job}").json()["attempts"][0]["stop"] == "of_tomorrow"
    assert [worker["duty"] for worker in ada.get("/v1/workers").json()["workers"]] == ["of_tomorrow", "active"]
    assert root.get("/metrics").status_code == 200


def test_a_job_whose_plug_in_is_gone_names_it_and_can_be_listed_shown_and_cancelled(
    ada: TestClient, submit: Submit
) -> None:
    job = submit(ada)["id"]
    spoil(job, json.dumps(STORED | {"model": {"kind": "lab_net", "width": 3}}))
    write("UPDATE jobs SET plugins = '{lab-nets}' WHERE id = :job", job=job)
    seen = ada.get(f"/v1/jobs/{job}").json()
    assert "the plug-in lab-nets is not installed here" in seen["spec_error"]
    assert seen["waiting"]["reason"] == "spec_not_readable"
    assert "lab-nets" in seen["waiting"]["detail"]
    assert seen["spec"]["model"] == {"kind": "lab_net", "width": 3}
    (listed,) = ada.get("/v1/jobs").json()["jobs"]
    assert listed["spec_error"] == seen["spec_error"]
    assert ada.get(f"/v1/jobs/{job}/curves").json()["curves"] == []
    assert ada.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
