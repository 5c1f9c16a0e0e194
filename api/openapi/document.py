"""What does the OpenAPI document say beyond the routes? The answers that any request may get, and links to them.

Knows the document as a tree of plain values. A route describes only its own answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.openapi.examples import EXAMPLES
from api.problems import REF, Problem, problems
from hsu_jobs.errors import BodyTooLarge, TookTooLong, TooManyRequests, Unavailable, UnsupportedMediaType

TAGS = {
    "jobs": "Submit jobs, look at them, and ask something of them.",
    "runs": "Training loops that run elsewhere and are kept here.",
    "studies": "Many jobs that are run to be compared, and what they show.",
    "curves": "What jobs measured, live while they train and for good afterwards.",
    "checkpoints": "The saved states of jobs, which forks go on from.",
    "log": "What the attempts at jobs printed.",
    "events": "What happened to jobs, in order.",
    "datasets": "Bring data of your own, and train on them.",
    "webhooks": "Be told of what happens to jobs.",
    "cluster": "The queue, the machines, and how much of them everybody may use.",
    "keys": "API keys: make, look at, rotate, revoke.",
    "audit": "Who changed what.",
    "catalog": "Everything that a spec may hold.",
    "health": "Is the service there, and how is it doing?",
}

Tree = dict[str, Any]

_ALWAYS = problems(BodyTooLarge, TooManyRequests, Unavailable, TookTooLong)
_WITH_BODY = problems(UnsupportedMediaType)
_HEADERS: Tree = {
    "X-Request-Id": {
        "description": "The id that the request came with, or got: in problems and in the service's log too.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left of the key's bucket (`r`), and the seconds until it is full again (`t`).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "The size of the key's bucket (`q`), and the seconds in which it fills (`w`).",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "Location": {"description": "Where that which was made is.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
}
_OF_STATUS = {"201": ["Location"], "401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}


def install(app: FastAPI) -> None:
    """Let the app serve this document."""
    app.openapi = partial(_document, app)  # type: ignore[method-assign]


def name_of(route: APIRoute) -> str:
    """The operation's id: short, and unchanged as long as its function's name is."""
    return route.name


def tags() -> list[dict[str, str]]:
    """What the groups of routes are about."""
    return [{"name": name, "description": about} for name, about in TAGS.items()]


def _document(app: FastAPI) -> Tree:
    if app.openapi_schema is not None:
        return app.openapi_schema
    document: Tree = FastAPI.openapi(app)
    components = document["components"]
    problem = Problem.model_json_schema(ref_template=REF)
    schemas = components["schemas"] | problem.pop("$defs") | {Problem.__name__: problem}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for schema in schemas.values():
        _plain(schema)
        _d_last(schema)
    for name, example in EXAMPLES.items():
        schemas[name] = {**schemas[name], "examples": [example]}
    components |= {"schemas": schemas, "headers": _HEADERS}
    for operation in _operations(document["paths"]):
        for answer in operation["responses"].values():
            _json_first(answer)
        operation["responses"] = dict(sorted(_responses(operation).items()))
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
    for message in _operations(document.get("webhooks", {})):
        message["responses"] = _own(message)
    app.openapi_schema = _told_apart(document)
    return app.openapi_schema


def _plain(schema: Tree) -> None:
    """Describe defaults that are objects in words: client generators fail on them."""
    for about in schema.get("properties", {}).values():
        if isinstance(about.get("default"), dict):
            default = f"Default: `{json.dumps(about.pop('default'))}`"
            about["description"] = f"{about['description']} {default}" if "description" in about else default


def _without_null(schema: Tree) -> Tree:
    """An optional parameter of a query or a header is left out, never `null`."""
    choices: list[Tree] = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {name: value for name, value in schema.items() if name not in ("anyOf", "default")} | choices[0]


def _d_last(schema: Tree) -> None:
    """Put a property `d` last, and state in another way that it is required.

    openapi-python-client 0.29 reads an object from a variable that is also called `d`, and reads `required` properties
    first: properties that it reads after `d` would be lost.
    """
    needed = schema.get("required", [])
    if "d" in needed:
        needed.remove("d")
        schema["properties"]["d"] = schema["properties"].pop("d")
        schema["dependentRequired"] = {needed[0]: ["d"]}


def _json_first(answer: Tree) -> None:
    """Put JSON first: client generators take the first form of an answer, and we send JSON by default."""
    if "application/json" in answer.get("content", {}):
        answer["content"] = {"application/json": answer["content"].pop("application/json")} | answer["content"]


def _told_apart(document: Tree) -> Tree:
    """Two classes of one name, `events.Paused` and `outcomes.Paused`, as `PausedEvent` and `PausedOutcome`."""
    schemas = document["components"]["schemas"]
    short = {}
    for path in [name for name in schemas if "__" in name]:
        *_, module, name = path.split("__")
        short[path] = schemas[path]["title"] = name + module.removesuffix("s").capitalize()
    text = json.dumps(document)
    for path, name in short.items():
        text = text.replace(path, name)
    default: Tree = json.loads(text)
    return default


def _operations(paths: Tree) -> Iterator[Tree]:
    for path in paths.values():
        yield from path.values()


def _responses(operation: Tree) -> Tree:
    own = _own(operation)
    always = _ALWAYS | _WITH_BODY if "requestBody" in operation else _ALWAYS
    every = {str(status): answer for status, answer in always.items()} | own
    is_limited = "security" in operation
    return {status: {**answer, "headers": _headers(status, answer, is_limited)} for status, answer in every.items()}


def _own(operation: Tree) -> Tree:
    """The answers that a route describes itself, without FastAPI's own kind of 422."""
    return {status: answer for status, answer in operation["responses"].items() if not _is_fastapis(answer)}


def _headers(status: str, answer: Tree, is_limited: bool) -> Tree:  # noqa: FBT001
    names = ["X-Request-Id", *_OF_STATUS.get(status, ()), *(["RateLimit", "RateLimit-Policy"] if is_limited else ())]
    own: Tree = answer.get("headers", {})
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names} | own


def _is_fastapis(answer: Tree) -> bool:
    """Whether this is FastAPI's own kind of 422; ours is 400, or 422 with a problem."""
    schema: Tree = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref")).endswith("/HTTPValidationError")
