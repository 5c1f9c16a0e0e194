"""What is known of a request while it is answered? One object that middleware, keys and the audit log share.

Knows ASGI's scope. Decides nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from time import perf_counter

from starlette.responses import Response
from starlette.types import Scope

from hsu_jobs.tables import ApiKey

_IN_SCOPE = "hsu.state"
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class RequestState:
    """A request and its answer. Each change has a method, named after what happened."""

    scope: Scope
    request_id: str
    begun: float
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Added to the answer, whichever code makes it."""
    key: ApiKey | None = field(default=None, init=False)
    """The key that was sent, if it is known; also one that is no longer valid."""
    is_refused: bool = field(default=False, init=False)
    """Whether that key is no longer valid."""
    is_audited: bool = field(default=False, init=False)
    """Whether the audit log has a line of the request."""
    response: Response | None = field(default=None, init=False)
    """The response that a route made itself, if it did."""
    status: int = field(default=0, init=False)
    """The status of the answer, once it begins."""
    _extra_seconds: float = field(default=0.0, init=False)

    def identify(self, key: ApiKey | None, *, is_valid: bool) -> None:
        """The key was looked up (`dependencies.auth`)."""
        self.key, self.is_refused = key, key is not None and not is_valid

    def allow(self, seconds: float) -> None:
        """The answer may take so much longer than usual (`dependencies.long_poll`, `streams.large_responses`)."""
        self._extra_seconds += seconds

    def take_extra_seconds(self) -> float:
        """The time that was allowed and not yet taken (`middleware.time_limit`)."""
        seconds, self._extra_seconds = self._extra_seconds, 0.0
        return seconds

    def respond(self, response: Response) -> Response:
        """A route made its response itself (`dependencies.idempotency`)."""
        self.response = response
        return response

    def begin_answer(self, status: int) -> None:
        """The answer begins (`middleware.request_log`)."""
        self.status = status

    def audited(self) -> None:
        """The line in the audit log is committed (`middleware.audit`)."""
        self.is_audited = True

    @property
    def method(self) -> str:
        """The method; OTHER for an unknown one."""
        method: str = self.scope["method"]
        return method if method in _METHODS else "OTHER"

    @property
    def route(self) -> str:
        """The path of the route that answers, with its parameters' names; `none` if there is none."""
        return getattr(self.scope.get("route"), "path_format", "none")

    @property
    def address(self) -> str:
        """The client's address, as the web server knows it."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @property
    def may_change(self) -> bool:
        """Whether the method is one that changes something."""
        return self.scope["method"] in _CHANGING

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return perf_counter() - self.begun


def begin(scope: Scope) -> RequestState:
    """The state of a new request; its id is the one that it brings, or a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
    state = RequestState(scope, request_id, perf_counter(), headers=[(b"x-request-id", request_id.encode())])
    scope[_IN_SCOPE] = state
    return state


def current(scope: Scope) -> RequestState:
    """The state of the request with this scope."""
    state: RequestState = scope[_IN_SCOPE]
    return state
