"""What can go wrong with a request to the service? The service refuses, or it does not answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, NamedTuple, Self

import httpx2
from socksio.exceptions import SOCKSError


class Fault(NamedTuple):
    """One wrong field of a spec."""

    pointer: str
    """JSON pointer (RFC 6901) to the field, in the spec as it was sent."""
    code: str
    detail: str


class Problem(Exception):
    """The service refused: its application/problem+json (RFC 9457)."""

    def __init__(
        self, *, status: int, code: str, title: str, detail: str, errors: tuple[Fault, ...] = (), more_errors: int = 0
    ) -> None:
        said = f"{title}: {detail}" if detail else title
        super().__init__(f"{said} (and {more_errors} more errors)" if more_errors else said)
        self.status = status
        self.code = code
        """Stable: programs may rely on it."""
        self.title = title
        self.detail = detail
        self.errors = errors
        self.more_errors = more_errors
        """How many other fields are wrong: the service names the first twenty."""

    @classmethod
    def at_the_end(cls, body: dict[str, Any]) -> Self:
        """The last message of a stream whose key has been revoked or has expired."""
        code, detail = str(body.get("code", "unauthorized")), str(body.get("detail", ""))
        return cls(status=HTTPStatus.UNAUTHORIZED, code=code, title=HTTPStatus.UNAUTHORIZED.phrase, detail=detail)

    @classmethod
    def of(cls, answer: httpx2.Response) -> Self:
        """The problem in an answer, also from a proxy that does not use RFC 9457."""
        body = _body(answer)
        return cls(
            status=answer.status_code,
            code=str(body.get("code", f"http_{answer.status_code}")),
            title=str(body.get("title", _phrase(answer.status_code))),
            detail=str(body.get("detail", "")),
            errors=tuple(_fault(fault) for fault in body.get("errors", ())),
            more_errors=int(body.get("more_errors", 0)),
        )


UNREACHED = (httpx2.TransportError, SOCKSError)
"""Raised when no answer comes: `httpx2` passes on the errors of its SOCKS library unchanged."""


class Unreachable(Exception):
    """The service does not answer: it is not known whether it fulfilled the request."""


def _body(answer: httpx2.Response) -> dict[str, Any]:
    if answer.headers.get("content-type", "").partition(";")[0] != "application/problem+json":
        return {}
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _fault(fault: dict[str, Any]) -> Fault:
    return Fault(*(str(fault.get(name, "")) for name in Fault._fields))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP status {status}"
