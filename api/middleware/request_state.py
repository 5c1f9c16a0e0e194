"""What is known of a request while it is answered? One object that middleware, keys and the audit log share.

Knows ASGI's scope. Decides nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from time import perf_counter

from starlette.types import Scope

from hsu_jobs.tables import ApiKey

_IN_SCOPE = "hsu.state"
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class RequestState:
    """A request and its answer."""

    scope: Scope
    request_id: str
    begun: float
    key: ApiKey | None = None
    """Of whoever asks; also one that opens nothing any more."""
    is_refused: bool = False
    """Whether that key opens nothing any more."""
    is_audited: bool = False
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What the answer is to carry, whoever makes it."""
    patience: float = 0.0
    """Seconds beyond the usual time that the client wants to wait for the answer."""
    status: int = 0
    """Of the answer, once it begins."""

    @property
    def method(self) -> str:
        """The method, if it is one."""
        method: str = self.scope["method"]
        return method if method in _METHODS else "OTHER"

    @property
    def route(self) -> str:
        """The path of the route that answers, with its parameters' names; `none` if there is none."""
        return getattr(self.scope.get("route"), "path_format", "none")

    @property
    def address(self) -> str:
        """Of the client, as the web server knows it."""
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
    """What is known of a request that has just come; it brings its id, or gets one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
    state = RequestState(scope, request_id, perf_counter(), headers=[(b"x-request-id", request_id.encode())])
    scope[_IN_SCOPE] = state
    return state


def current(scope: Scope) -> RequestState:
    """What is known of the request with this scope."""
    state: RequestState = scope[_IN_SCOPE]
    return state
