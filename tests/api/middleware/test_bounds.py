"""Every input has a bound, says which, and is refused before it costs anything."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import DIGITS, POINTS
from sqlalchemy import exc, text

from hsu_jobs import database, spec

Tree = dict[str, Any]
JSON = {"Content-Type": "application/json"}


def unbounded(document: Tree) -> list[str]:
    """Where the document's requests name no maximum."""
    seen: set[str] = set()
    found: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                found += _unbounded(document, parameter["schema"], f"{where} {parameter['name']}", seen)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                found += _unbounded(document, content["schema"], where, seen)
    return found


def _unbounded(document: Tree, schema: Tree, where: str, seen: set[str]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            seen.add(name)
            yield from _unbounded(document, document["components"]["schemas"][name], name, seen)
        return
    for each in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _unbounded(document, each, where, seen)
    if "enum" in schema or "const" in schema:
        return
    match schema.get("type"):
        case "string" if schema.get("format") != "date-time" and "maxLength" not in schema:
            yield f"{where}: a text without maxLength"
        case "integer" | "number":
            for end, other in (("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")):
                if end not in schema and other not in schema:
                    yield f"{where}: a number without {end}"
        case "array":
            if "maxItems" not in schema:
                yield f"{where}: a list without maxItems"
            for each in (*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else ())):
                yield from _unbounded(document, each, f"{where}[]", seen)
        case "object":
            for name, each in schema.get("properties", {}).items():
                yield from _unbounded(document, each, f"{where}.{name}", seen)
            yield from _of_map(document, schema, where, seen)
        case None if not {"$ref", "anyOf", "oneOf", "allOf"} & set(schema):
            yield f"{where}: anything"


def _of_map(document: Tree, schema: Tree, where: str, seen: set[str]) -> Iterator[str]:
    values = schema.get("additionalProperties", True)
    if values is False:
        return
    if "maxProperties" not in schema:
        yield f"{where}: a map without maxProperties"
    yield from _unbounded(document, schema.get("propertyNames", {}) | {"type": "string"}, f"{where} (a key)", seen)
    if isinstance(values, dict):
        yield from _unbounded(document, values, f"{where} (a value)", seen)


def test_every_input_of_the_document_has_a_maximum(http: TestClient) -> None:
    assert unbounded(http.get("/openapi.json").json()) == []


@pytest.mark.parametrize(
    ("schema", "lacks"),
    [
        ({"type": "string"}, "a text without maxLength"),
        ({"type": "number", "maximum": 1}, "a number without minimum"),
        ({"type": "array", "items": {"type": "null"}}, "a list without maxItems"),
        ({"type": "object"}, "a map without maxProperties"),
        ({"anyOf": [{"type": "integer", "minimum": 0}]}, "a number without maximum"),
        ({}, "anything"),
    ],
)
def test_the_walk_finds_what_has_none(schema: Tree, lacks: str) -> None:
    assert any(each.endswith(lacks) for each in _unbounded({}, schema, "here", set()))


BEYOND: list[tuple[Tree, str, str]] = [
    ({"record": {"measures": ["wrong"] * 20_000}}, "/record/measures", "too_long"),
    ({"record": {"layers": [f"conv{i}" for i in range(70_000)]}}, "/record/layers", "too_long"),
    ({"regularizer": {"kind": "mhe", "layers": ["*"] * 65}}, "/regularizer/layers", "too_long"),
    (
        {"regularizer": {"kind": "mhe", "layer_weights": {f"l{i}": 1 for i in range(65)}}},
        "/regularizer/layer_weights",
        "too_long",
    ),
    ({"record": {"layers": ["*", "x" * 201]}}, "/record/layers/1", "string_too_long"),
    ({"record": {"layers": ["*", "a\0"]}}, "/record/layers/1", "string_pattern_mismatch"),
    ({"model": {"kind": "mlp", "hidden": [2**31 - 1]}}, "/model/hidden/0", "less_than_equal"),
    ({"model": {"kind": "mlp", "hidden": [2**17, 2**17]}}, "/model", "too_many_parameters"),
    ({"limits": {"deadline": 1e308}}, "/limits/deadline", "less_than_equal"),
    ({"optimizer": {"kind": "sgd", "lr": 1e39}}, "/optimizer/lr", "less_than_equal"),
    ({"duration": {"epochs": 2**31 - 1}}, "/duration", "too_many_steps"),
    ({"duration": {"steps": 2**31 - 1}, "record": {"every": 1}}, "/record/every", "too_many_values"),
]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_what_no_machine_could_meet_is_pointed_at(ada: TestClient, query: str) -> None:
    for change, pointer, code in BEYOND:
        answer = ada.post(f"/v1/jobs{query}", json=DIGITS | change)
        assert answer.status_code == 422, answer.text
        assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


def test_a_batch_that_no_device_holds_is_pointed_at(ada: TestClient) -> None:
    large = {"dataset": {"kind": "cifar10"}, "model": {"kind": "wide_resnet", "depth": 40}, "batch_size": 50_000}
    found = ada.post("/v1/jobs?dry_run=true", json=DIGITS | large).json()["errors"]
    assert ("/batch_size", "too_much_memory") in [(error["pointer"], error["code"]) for error in found]
    narrow = {"model": {"kind": "mlp", "hidden": [70_000, 70_000, 70_000]}, "batch_size": 1437}
    answer = ada.post("/v1/jobs?dry_run=true", json=DIGITS | narrow)
    assert answer.status_code == 200, answer.text


def test_a_points_job_is_bounded_too(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", json=POINTS | {"objective": {"kind": "riesz", "s": 1e308}})
    assert answer.json()["errors"][0]["pointer"] == "/objective/s"


def test_twenty_errors_are_told_with_the_count_of_the_rest(ada: TestClient) -> None:
    answer = ada.post("/v1/jobs", json=DIGITS | {f"k{i}": "v" * 5000 for i in range(100)})
    told = answer.json()
    assert (answer.status_code, len(told["errors"]), told["more_errors"]) == (422, 20, 80)
    assert "99 more" in told["detail"]
    assert len(answer.content) < 64_000


def test_a_bulk_tells_as_many(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "ENOUGH_SECONDS", 600.0)  # a busy machine, or a measure of coverage, takes longer
    told = ada.post("/v1/jobs/bulk", json={"jobs": [DIGITS | {"batch_size": 0}] * 1000}).json()
    assert (len(told["errors"]), told["more_errors"]) == (20, 980)
    assert told["errors"][3]["pointer"] == "/jobs/3/batch_size"
    told = ada.post("/v1/jobs/bulk", json={"jobs": [DIGITS | {f"k{i}": 0 for i in range(30)}] * 1000}).json()
    assert 980 <= told["more_errors"] <= 1020  # and the rest of the jobs is not even looked at


def test_a_key_of_any_kind_can_be_told(ada: TestClient) -> None:
    for key in ("k" * 1_000_000, "\ud800", "\x1b[2J"):
        answer = ada.post("/v1/jobs", content=json.dumps(DIGITS | {key: 0}), headers=JSON)
        assert (answer.status_code, len(answer.json()["errors"])) == (422, 1)
        assert len(answer.content) < 2000
        assert "\x1b" not in answer.json()["errors"][0]["pointer"]


UNREADABLE: list[tuple[bytes, dict[str, str], int, str]] = [
    (gzip.compress(b"{}"), JSON | {"Content-Encoding": "gzip"}, 415, "without a Content-Encoding; found 'gzip'"),
    (gzip.compress(b"{}"), JSON, 400, "begins as gzip does"),
    (b'{"name": "\xc5"}', JSON, 400, "not JSON in UTF-8: found byte 0xc5 at 10; is it in Latin-1"),
    (b'"\xc5"', {"Content-Type": "application/json; charset=latin-1"}, 415, "in UTF-8; found charset='latin-1'"),
    (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "found 'application/x-www-form-urlenc"),
    (b"{}", {}, 415, "with Content-Type: application/json; found none"),
    (b"[" * 100_000, JSON, 400, "32 within each other at most"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, JSON, 400, "32 within each other at most"),
    (b'{"seed": ' + b"9" * 5000 + b"}", JSON, 400, "400 digits at most, found 5,000"),
    (b'{"seed": 1e400}', JSON, 400, "1.8e308 at most, found 1e400"),
    (b'{"seed": NaN}', JSON, 400, "no number NaN"),
    (b'{"seed": 1, "seed": 2}', JSON, 400, "found 'seed' twice"),
    (json.dumps({f"k{i}": 0 for i in range(60_000)}).encode(), JSON, 400, "1,000 keys at most, found 60,000"),
    (b'{"seed": 1', JSON, 400, "line 1, column 11, found its end"),
    (b'{"seed": oops}', JSON, 400, "line 1, column 10, found 'oops}'"),
]


def test_a_body_that_cannot_be_read_is_told_why(ada: TestClient) -> None:
    for body, headers, status, reason in UNREADABLE:
        answer = ada.post("/v1/jobs", content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert reason in answer.json()["detail"]
        assert answer.headers.get("accept-encoding") == ("identity" if "Content-Encoding" in headers else None)


def test_what_json_may_be_written_in_is_taken(ada: TestClient) -> None:
    for coding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        body = json.dumps(DIGITS | {"name": "Ångström"}, ensure_ascii=False).encode(coding)
        answer = ada.post("/v1/jobs", content=body, headers=JSON)
        assert (answer.status_code, answer.json()["name"]) == (201, "Ångström")


def test_a_request_without_a_body_needs_no_type(ada: TestClient) -> None:
    job = ada.post("/v1/jobs", json=DIGITS).json()["id"]
    assert ada.post(f"/v1/jobs/{job}/cancel", headers={"Content-Type": "text/plain"}).status_code == 202


def test_a_nul_that_reaches_the_database_is_told_as_such(ada: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        with database.transaction() as session:
            session.execute(text("SELECT CAST(:told AS text)"), {"told": "\0"})

    monkeypatch.setattr("hsu_jobs.queries.jobs_visible_to", fail)
    answer = ada.get("/v1/jobs")
    assert answer.status_code == 400
    assert "the character NUL" in answer.json()["detail"]


def test_any_other_value_that_the_database_refuses_is_not_the_clients_fault(
    ada: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for statement in ("40000::smallint", "1 / 0", "'x'::timestamptz", "make_interval(secs => 1e308)"):

        def fail(*_: object, asked: str = statement) -> None:
            with database.transaction() as session:
                session.execute(text(f"SELECT {asked}"))

        monkeypatch.setattr("hsu_jobs.queries.jobs_visible_to", fail)
        caplog.clear()
        answer = ada.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert exc.DataError.__name__ in caplog.text
