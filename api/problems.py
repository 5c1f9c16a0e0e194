"""What does an error look like on the wire? Rendered here, once, as application/problem+json (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg.errors import QueryCanceled
from pydantic import BaseModel, ValidationError
from sqlalchemy import exc
from starlette.exceptions import HTTPException

from api import methods
from api.path_prefix import route_path
from hsu_jobs import log_lines
from hsu_jobs.errors import (
    BadRequest,
    BodyTooLarge,
    Fault,
    IllegalMove,
    JobsError,
    SpecRejected,
    TookTooLong,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UpgradeRequired,
)
from hsu_jobs.states import Action, State

MEDIA_TYPE = "application/problem+json"

Responses = dict[int | str, dict[str, Any]]
"""What a route may answer, for the OpenAPI document."""


class Problem(BaseModel):
    """An error, told to the person who can act."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    """Stable: programs may rely on it."""
    detail: str
    """What was wrong, what was expected and what was found."""
    errors: list[Fault] = []
    """For a bad spec: every wrong field."""
    state: State | None = None
    """For a job that does not allow it: what it is."""
    legal: list[Action] = []
    """For a job that does not allow it: what may be asked of it instead."""
    request_id: str | None = None
    """The answer's X-Request-Id: the service's log tells of it."""


def respond(error: JobsError) -> JSONResponse:
    """The response for one of our own errors."""
    problem = Problem(
        title=error.title, status=error.status, code=error.code, detail=error.detail, errors=list(error.faults)
    )
    if isinstance(error, IllegalMove):
        problem.state, problem.legal = error.state, list(error.possible)
    return _response(problem, _headers(error))


def surprise() -> JSONResponse:
    """The response for an error that nobody foresaw."""
    title = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    detail = "the service failed in a way that nobody foresaw; its log holds the trace under this request_id"
    return _response(Problem(title=title, status=500, code="internal_error", detail=detail), None)


@contextmanager
def pointing_into(field: str, spec: object) -> Iterator[None]:
    """Let what is wrong with a spec point into the field of the body that this spec comes from."""
    try:
        yield
    except ValidationError as error:
        raise _rejected(
            tuple(_told(fault, fault["loc"], spec, within=f"/{field}") for fault in error.errors())
        ) from error
    except JobsError as error:
        error.faults = tuple(fault.model_copy(update={"pointer": f"/{field}{fault.pointer}"}) for fault in error.faults)
        raise


def problems(*errors: type[JobsError]) -> Responses:
    """The `responses` of a route that may end in these errors, for the OpenAPI document."""
    return {
        error.status: {
            "description": " or ".join(other.title for other in errors if other.status == error.status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model=Problem.__name__)}}},
        }
        for error in errors
    }


REF = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Render every error of the app as a problem."""
    app.add_exception_handler(JobsError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for lost in (exc.OperationalError, exc.InterfaceError, exc.TimeoutError):
        app.add_exception_handler(lost, _unavailable)
    app.add_exception_handler(exc.DataError, _unstorable)


def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, JobsError)
    return respond(error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = tuple(_fault(fault, error.body) for fault in error.errors())
    if any(fault.code == "json_invalid" for fault in faults):
        return respond(BadRequest(f"the body is not valid JSON: {faults[0].detail}"))
    if all(fault["loc"][0] != "body" for fault in error.errors()):
        return respond(BadRequest("a parameter is not valid", faults=faults))
    return respond(_rejected(faults))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == BodyTooLarge.status:
        return respond(BodyTooLarge(error.detail))
    title = HTTPStatus(error.status_code).phrase
    code = title.lower().replace(" ", "_").replace("-", "_")
    headers = dict(error.headers or {})
    if allowed := methods.of(request.app, route_path(request.scope)) if error.status_code == _NOT_ALLOWED else "":
        headers["Allow"] = allowed
    return _response(Problem(title=title, status=error.status_code, code=code, detail=error.detail), headers)


_NOT_ALLOWED = 405


def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(getattr(error, "orig", None), QueryCanceled):
        return respond(TookTooLong("the database took too long; nothing was changed, ask for less"))
    return respond(Unavailable("the database does not answer; nothing was changed, try again"))


def _unstorable(_request: Request, _error: Exception) -> JSONResponse:
    return respond(BadRequest("it holds a character or a number that the database cannot: NUL, for example"))


def _headers(error: JobsError) -> dict[str, str] | None:
    match error:
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case UpgradeRequired():
            return {"Upgrade": "HTTP/1.1", "Connection": "Upgrade"}
        case TooManyRequests():
            return {"Retry-After": str(math.ceil(error.seconds))}
        case _:
            return None


def _response(problem: Problem, headers: Mapping[str, str] | None) -> JSONResponse:
    problem.request_id = log_lines.request_id()
    body = problem.model_dump(mode="json", exclude_defaults=True)
    return JSONResponse(body, status_code=problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _fault(fault: Mapping[str, Any], body: object) -> Fault:
    where, *path = fault["loc"]
    if where != "body":
        return Fault(pointer=f"#{where}/{'/'.join(map(str, path))}", code=fault["type"], detail=fault["msg"])
    return _told(fault, path, body)


def _told(fault: Mapping[str, Any], path: Sequence[str | int], body: object, *, within: str = "") -> Fault:
    found = "" if fault["type"] in ("missing", "json_invalid") else f" (found {_short(fault['input'])})"
    own = isinstance(fault.get("ctx"), Mapping) and "message" in fault["ctx"]
    pointer = within + _pointer(path, body)
    return Fault(pointer=pointer, code=fault["type"], detail=fault["msg"] + ("" if own else found))


def _rejected(faults: tuple[Fault, ...]) -> SpecRejected:
    first, more = faults[0], len(faults) - 1
    others = f" (and {more} more: see errors)" if more else ""
    return SpecRejected(f"{first.pointer or 'the body'}: {first.detail}{others}", faults=faults)


def _pointer(path: Sequence[str | int], body: object) -> str:
    """A JSON pointer (RFC 6901) into the body as it came.

    pydantic's path also names the chosen member of each union (`regularizer`, `mhe`, `s`): a step that the body does
    not have is such a name, except a last one, which is a key that is missing or came from a default.
    """
    steps: list[str] = []
    for place, step in enumerate(path):
        here, last = _keys(body), place == len(path) - 1
        if step in here:
            body = here[step]
        elif not last or here.get("kind") == step:
            continue
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{step}" for step in steps)


def _keys(body: object) -> Mapping[Any, Any]:
    match body:
        case dict():
            return body
        case list():
            return dict(enumerate(body))
        case _:
            return {}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
