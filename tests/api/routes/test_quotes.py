"""A dry run: what a job would cost, when it would start, how long it would take. Nothing is queued."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, POINTS, ROOM, TRAINED
from sqlalchemy import func, select

from hsu_core import costs
from hsu_jobs import attempts, database, settings
from hsu_jobs.outcomes import Succeeded
from hsu_jobs.spec import parse
from hsu_jobs.tables import Answer, Job, Role


def quote(client: TestClient, spec: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/jobs", params={"dry_run": True}, json=spec)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def run(speed: float) -> None:
    """Let the job that waits succeed at so many steps a second."""
    with database.transaction() as session:
        claim = attempts.claim(session, ROOM, settings.settings())
        assert claim is not None
        session.flush()
        result = TRAINED.model_copy(update={"steps_per_second": speed})
        attempts.settle(session, claim.token, Succeeded(result=result), settings.settings())


def test_a_dry_run_queues_nothing_and_keeps_no_answer(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs?dry_run=true", json=DIGITS, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200
    assert "location" not in answer.headers
    with database.transaction() as session:
        for table in (Job, Answer):
            assert session.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_quote_tells_what_the_training_takes(ada: TestClient) -> None:
    told, spec = quote(ada, DIGITS), parse(DIGITS)
    expected = costs.estimate(spec)
    assert (told["fingerprint"], told["total_steps"]) == (spec.fingerprint, 11)
    assert told["costs"]["parameters"] == expected.parameters == 64 * 65 + 65 * 32 + 32 * 10
    assert told["costs"]["flops_per_step"] == expected.flops
    assert told["costs"]["memory"]["total"] == expected.memory.total
    assert 0 < told["costs"]["penalty_share"] < 1
    assert told["costs"]["curve_bytes"] == 8 * told["costs"]["curve_values"] + 16 * expected.reports


def test_a_quote_tells_what_is_measured_at_the_end(ada: TestClient) -> None:
    evaluate = {"calibration": {}, "attacks": {"methods": [{"kind": "pgd"}], "epsilons": [0.1], "examples": 100}}
    calibration, attacks = quote(ada, DIGITS | {"evaluate": evaluate})["costs"]["evaluation"]
    assert calibration == {"option": "calibration", "forwards": 360, "backwards": 0, "flops": 2 * 360 * 6464}
    assert attacks == {"option": "attacks", "forwards": 2100, "backwards": 2000, "flops": 2 * 4100 * 6464}
    assert quote(ada, DIGITS)["costs"]["evaluation"] == []


def test_an_attack_on_a_task_without_pixels_is_refused_with_the_reason(ada: TestClient) -> None:
    nodes = {"task": "nodes", "dataset": {"kind": "cora"}, "model": {"kind": "gcn"}, "evaluate": {"attacks": {}}}
    nodes |= {"regularizer": {"kind": "none"}, "duration": {"steps": 1}}
    (fault,) = ada.post("/v1/jobs?dry_run=true", json=nodes).json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/evaluate/attacks", "no_pixels")
    assert fault["detail"].startswith("an attack on a task that has no pixels")


def test_a_quote_tells_when_the_job_would_start(ada: TestClient, submit: Callable[..., Any]) -> None:
    assert quote(ada, DIGITS)["waiting"]["reason"] == "no_worker"
    for _ in range(3):
        submit(ada)
    assert quote(ada, DIGITS)["waiting"]["ahead"] == 3


def test_a_quote_takes_like_jobs_for_its_pace(ada: TestClient, submit: Callable[..., Any]) -> None:
    told = quote(ada, DIGITS)
    assert (told["seconds_per_step"], told["seconds"]) == (None, None)
    for speed in (2.0, 4.0, 400.0):
        submit(ada)
        run(speed)
    told = quote(ada, DIGITS | {"seed": 5, "duration": {"steps": 100}})
    assert (told["seconds_per_step"], told["seconds"]) == (0.25, 25.0)
    for change in (
        {"model": {"kind": "mlp", "hidden": [64]}},
        {"precision": "bf16"},
        {"batch_size": 64},
        {"regularizer": {"kind": "none"}},
    ):
        assert quote(ada, DIGITS | change)["seconds_per_step"] is None


def test_a_quote_tells_of_jobs_that_must_give_the_same_result(
    ada: TestClient, as_user: Callable[..., TestClient], root: TestClient, submit: Callable[..., Any]
) -> None:
    mine, others = submit(ada)["id"], submit(as_user("bo"))["id"]
    ada.post(f"/v1/jobs/{mine}/cancel")
    again = DIGITS | {"name": "another name"}
    assert quote(ada, again)["duplicates"] == [{"id": mine, "state": "cancelled"}]
    assert [each["id"] for each in quote(root, again)["duplicates"]] == [others, mine]
    assert quote(ada, DIGITS | {"seed": 3})["duplicates"] == []


def test_points_have_no_costs_beforehand(ada: TestClient) -> None:
    told = quote(ada, POINTS)
    assert (told["costs"], told["seconds_per_step"], told["total_steps"]) == (None, None, 4)


@pytest.mark.parametrize(
    ("change", "status"), [({"batch_size": 0}, 422), ({"priority": 50}, 403), ({"colour": "red"}, 422)]
)
def test_what_would_be_refused_is_refused(ada: TestClient, change: dict[str, Any], status: int) -> None:
    assert ada.post("/v1/jobs?dry_run=true", json=DIGITS | change).status_code == status


def test_a_viewer_gets_no_quote(as_user: Callable[..., TestClient]) -> None:
    assert as_user("eve", Role.VIEWER).post("/v1/jobs?dry_run=true", json=DIGITS).status_code == 403


def test_something_that_is_no_truth_value_is_a_bad_request(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs?dry_run=perhaps", json=DIGITS)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#query/dry_run")


def test_a_quote_tells_what_the_penalty_takes(ada: TestClient) -> None:
    large = {"kind": "comhe", "dimension": 2900, "projections": 256}
    wide = {"model": {"kind": "mlp", "hidden": [3000, 16]}, "regularizer": large}
    memory = quote(ada, DIGITS | wide)["costs"]["memory"]
    assert memory["total"] > memory["penalty"] > 256 * 2900 * 3000 * 4
    poles = {"kind": "mhp", "inner": {"kind": "fresh", "poles": 65536}}
    assert quote(ada, DIGITS | {"regularizer": poles})["costs"]["memory"]["penalty"] > 65536 * 64 * 4
    assert quote(ada, DIGITS | {"regularizer": {"kind": "none"}})["costs"]["memory"]["penalty"] == 0
