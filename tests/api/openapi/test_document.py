"""The OpenAPI document: complete, and its examples are what they are examples of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient

from api.openapi.document import TAGS
from api.openapi.examples import EXAMPLES


@pytest.fixture
def document(http: TestClient) -> dict[str, Any]:
    return dict(http.get("/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def test_every_operation_is_named_described_and_in_a_described_group(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(names) == len(set(names))
    for operation in operations(document):
        assert operation["operationId"].isidentifier()
        assert operation["description"]
        assert len(operation["tags"]) == 1
    used = {tag for operation in operations(document) for tag in operation["tags"]}
    assert used == set(TAGS) == {tag["name"] for tag in document["tags"]}


def test_every_operation_says_how_it_may_be_refused(document: dict[str, Any]) -> None:
    for operation in operations(document):
        answers = operation["responses"]
        assert {"413", "429", "503", "504"} <= set(answers), operation["operationId"]
        assert ("401" in answers) == ("security" in operation), operation["operationId"]
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"]
            assert status < "400" or set(answer["content"]) == {"application/problem+json"}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            named = [schema, *schema.get("anyOf", ())]
            refs = [each["$ref"].rsplit("/", 1)[1] for each in named if "$ref" in each]
            own = [document["components"]["schemas"][name] for name in refs]
            assert any("examples" in each for each in [schema, *own]), operation["operationId"]


def test_every_example_is_one(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    examined = 0
    for name, schema in schemas.items():
        for example in schema.get("examples", ()):
            whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            jsonschema_rs.validator_for(whole).validate(example)
            examined += 1
    assert examined >= len(EXAMPLES) + 5
