"""What does an error look like on the wire? Rendered here, once, as application/problem+json (RFC 9457)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy import exc
from starlette.exceptions import HTTPException

from api import allowed_methods
from api.path_prefix import route_path
from hsu_jobs import log_format, spec_faults
from hsu_jobs.database_outage import AWAY, DatabaseAway
from hsu_jobs.errors import (
    BadRequest,
    BodyTooLarge,
    Fault,
    IllegalMove,
    JobsError,
    RangeNotSatisfiable,
    TookTooLong,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    UpgradeRequired,
)
from hsu_jobs.states import Action, State

RETRY_AFTER = 5
"""Seconds after which a client may repeat a request that was answered 503: a failover takes ten to sixty."""
MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 20
"""Wrong fields that one problem lists; of the others it gives only the number."""
LONGEST_POINTER, LONGEST_DETAIL = 150, 550
"""Characters. With 4 bytes each, a problem with twenty such faults stays below 64 kB."""

Responses = dict[int | str, dict[str, Any]]
"""What a route may answer, for the OpenAPI document."""


class Problem(BaseModel):
    """An error, described for the person who can act on it."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    """Stable: programs may rely on it."""
    detail: str
    """What was wrong, what was expected and what was found."""
    errors: list[Fault] = []
    """For a bad spec: the wrong fields, the first twenty of them."""
    more_errors: int = 0
    """How many other fields are wrong."""
    state: State | str | None = None
    """For a job that does not allow the request: its state."""
    legal: list[Action] = []
    """For a job that does not allow the request: what may be requested instead."""
    request_id: str | None = None
    """The answer's X-Request-Id, which the lines of the service's log carry."""


def respond(error: JobsError) -> JSONResponse:
    """The response for one of our own errors."""
    problem = Problem(
        title=error.title,
        status=error.status,
        code=error.code,
        detail=shortened(error.detail, LONGEST_DETAIL + LONGEST_POINTER),
        errors=[_brief(fault) for fault in error.faults[:MOST_FAULTS]],
        more_errors=max(0, len(error.faults) - MOST_FAULTS),
    )
    if isinstance(error, IllegalMove):
        problem.state, problem.legal = error.state, list(error.possible)
    return _response(problem, _headers(error))


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters, each of which can be sent and shown."""
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return _UNPRINTABLE.sub("\ufffd", text)


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, characters that change the direction of writing, and surrogates, which UTF-8 cannot encode."""


def _brief(fault: Fault) -> Fault:
    pointer, detail = shortened(fault.pointer, LONGEST_POINTER), shortened(fault.detail, LONGEST_DETAIL)
    return fault.model_copy(update={"pointer": pointer, "detail": detail})


def unexpected_error() -> JSONResponse:
    """The response for an unexpected error."""
    title = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    detail = "an unexpected error in the service; its log holds the trace under this request_id"
    return _response(Problem(title=title, status=500, code="internal_error", detail=detail), None)


@contextmanager
def pointing_into(field: str, spec: object) -> Iterator[None]:
    """Let the errors of a spec point into the field of the body that holds the spec; without a name, the body is it."""
    within = f"/{field}" if field else ""
    try:
        yield
    except ValidationError as error:
        raise spec_faults.rejected(spec_faults.of(error, spec, within=within)) from error
    except JobsError as error:
        error.faults = tuple(fault.model_copy(update={"pointer": f"{within}{fault.pointer}"}) for fault in error.faults)
        raise


def problems(*errors: type[JobsError]) -> Responses:
    """The `responses` of a route that may raise these errors, for the OpenAPI document."""
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
    for away in AWAY:
        app.add_exception_handler(away, _unavailable)
    app.add_exception_handler(exc.DataError, _unstorable)


def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, JobsError)
    return respond(error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = tuple(_fault(fault, error.body) for fault in error.errors())
    if all(fault["loc"][0] != "body" for fault in error.errors()):
        return respond(BadRequest(f"a parameter is not valid: {spec_faults.first_of(faults)}", faults=faults))
    return respond(spec_faults.rejected(faults))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == BodyTooLarge.status:
        return respond(BodyTooLarge(error.detail))
    title = HTTPStatus(error.status_code).phrase
    code = title.lower().replace(" ", "_").replace("-", "_")
    headers = dict(error.headers or {})
    if error.status_code == _NOT_ALLOWED and (
        allowed := allowed_methods.of_path(request.app, route_path(request.scope))
    ):
        headers["Allow"] = allowed
    return _response(Problem(title=title, status=error.status_code, code=code, detail=error.detail), headers)


_NOT_ALLOWED = 405


def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, DatabaseAway) and error.is_canceled:
        return respond(TookTooLong("the database took too long; nothing was changed, ask for less"))
    if isinstance(error, DatabaseAway) and error.is_read_only:
        return respond(Unavailable("the database takes no writes just now; nothing was changed, try again"))
    return respond(Unavailable("the database does not answer; nothing was changed, try again"))


def _unstorable(_request: Request, error: Exception) -> JSONResponse:
    """A value that the database refused. Only a NUL is certainly the client's error; anything else is our own."""
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlstate", None) in _OF_NUL or _NUL_BY_DRIVER in str(cause):
        return respond(BadRequest("a text of the request holds the character NUL, which the database cannot keep"))
    raise error


_OF_NUL = ("22021", "22P05")
"""character_not_in_repertoire and untranslatable_character: in text and in JSON."""
_NUL_BY_DRIVER = "cannot contain NUL"
"""psycopg's own message, without a SQLSTATE: psycopg refuses such a text before it is sent."""


def _headers(error: JobsError) -> dict[str, str] | None:
    match error:
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case UnsupportedMediaType(accepts=str(accepts)):
            return {"Accept-Encoding": accepts}
        case RangeNotSatisfiable(size=size):
            return {"Content-Range": f"bytes */{size}"}
        case UpgradeRequired():
            return {"Upgrade": "HTTP/1.1", "Connection": "Upgrade"}
        case TooManyRequests():
            return {"Retry-After": str(math.ceil(error.seconds))}
        case Unavailable():
            return {"Retry-After": str(RETRY_AFTER)}
        case _:
            return None


def _response(problem: Problem, headers: Mapping[str, str] | None) -> JSONResponse:
    problem.request_id = log_format.request_id()
    body = problem.model_dump(mode="json", exclude_defaults=True)
    return JSONResponse(body, status_code=problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _fault(fault: Mapping[str, Any], body: object) -> Fault:
    where, *path = fault["loc"]
    if where != "body":
        detail = spec_faults.wrong_choice(fault, path) or fault["msg"]
        return Fault(pointer=f"#{where}/{'/'.join(map(str, path))}", code=fault["type"], detail=detail)
    return spec_faults.described(fault, path, body)
