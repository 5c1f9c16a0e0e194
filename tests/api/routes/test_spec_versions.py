"""A spec's version over HTTP: optional, shown, and refused with those that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, POINTS

from hsu_core.spec.versions import PRESENT
from hsu_jobs.attempts import Claim

Submit = Callable[..., dict[str, Any]]


def test_a_version_may_be_left_out_is_shown_and_makes_no_other_job_of_it(ada: TestClient, submit: Submit) -> None:
    without, given = submit(ada), submit(ada, version=PRESENT)
    assert without["spec"] == given["spec"]
    assert without["spec"]["version"] == PRESENT
    assert (given["fingerprint"], given["duplicates"]) == (without["fingerprint"], [without["id"]])
    assert ada.post("/v1/jobs", json=given["spec"]).json()["spec"] == given["spec"]


@pytest.mark.parametrize("asked", [DIGITS, POINTS])
def test_a_newer_version_is_refused_and_the_answer_names_those_that_are_known(
    ada: TestClient, asked: dict[str, Any]
) -> None:
    newer = asked | {"version": PRESENT + 1}
    for path, body, pointer in (
        ("/v1/jobs", newer, "/version"),
        ("/v1/jobs?dry_run=true", newer, "/version"),
        ("/v1/jobs/bulk", {"jobs": [asked, newer]}, "/jobs/1/version"),
    ):
        answer = ada.post(path, json=body)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == (pointer, "unknown_version")
        assert f"reads the versions 1 to {PRESENT}" in error["detail"]


def test_a_fork_changes_the_spec_that_is_shown(
    ada: TestClient, submit: Submit, start: Callable[[], Claim], save: Callable[..., None]
) -> None:
    job = submit(ada)["id"]
    save(start(), 5)
    made = ada.post(f"/v1/jobs/{job}/fork", json={"change": {"version": PRESENT, "seed": 2}}).json()
    assert (made["spec"]["version"], made["spec"]["seed"]) == (PRESENT, 2)
    refused = ada.post(f"/v1/jobs/{job}/fork", json={"change": {"version": PRESENT + 1, "seed": 2}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/change/version"


def test_the_document_holds_an_optional_field_with_default_and_bounds(http: TestClient) -> None:
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    for name in ("ClassificationJob", "PointsJob"):
        (schema,) = (each for title, each in schemas.items() if title in (name, f"{name}-Input"))
        told = schema["properties"]["version"]
        assert (told["default"], told["minimum"], told["maximum"], told["type"]) == (PRESENT, 1, PRESENT, "integer")
        assert "version" not in schema.get("required", ())
