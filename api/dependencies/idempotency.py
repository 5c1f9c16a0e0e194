"""How is a request with an `Idempotency-Key` executed once, and answered each time that it is sent?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from api.dependencies.auth import Member
from api.dependencies.session import Session
from api.middleware import request_state
from api.middleware.request_state import RequestState
from api.path_prefix import route_path
from api.problems import Responses
from hsu_jobs.access import idempotency
from hsu_jobs.settings import settings

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="Sending the same request again with it, within `HSU_IDEMPOTENCY_KEEP`, does it once: the answer "
        "is the first one, with `Idempotency-Replayed: true`.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


_TEXT = {"schema": {"type": "string"}}
MADE: Responses = {
    201: {
        "headers": {
            "Idempotency-Replayed": {"description": "`true` if this answer was given before.", **_TEXT},
            "Location": {"description": "Where the new job is.", **_TEXT},
        }
    }
}
ALL_MADE: Responses = {201: {"headers": {"Idempotency-Replayed": MADE[201]["headers"]["Idempotency-Replayed"]}}}


class IdempotentRequest:
    """Answers a request, or repeats the stored answer of an earlier one."""

    def __init__(self, state: RequestState, session: Session, request: idempotency.Request | None) -> None:
        self.state = state
        self.session = session
        self.request = request

    def __call__(self, answer: Callable[[], Response]) -> Response:
        """The response; `answer` executes the request, and is called only if there is no stored answer."""
        return self.state.respond(self._answered(answer))

    def _answered(self, answer: Callable[[], Response]) -> Response:
        if self.request is None:
            return answer()
        keep = settings().idempotency_keep
        if given := idempotency.stored(self.session, self.request, keep=keep):
            return _replayed(given)
        response = answer()
        given = idempotency.StoredAnswer(response.status_code, response.headers.get("location"), bytes(response.body))
        idempotency.store(self.session, self.request, given, keep=keep)
        return response


async def idempotent(
    request: Request, key: Member, session: Session, idempotency_key: IdempotencyKey = None
) -> IdempotentRequest:
    """The object that answers this request."""
    state = request_state.current(request.scope)
    if idempotency_key is None:
        return IdempotentRequest(state, session, None)
    asked = hashlib.sha256(f"{request.method} {route_path(request.scope)}\n".encode() + await request.body())
    return IdempotentRequest(state, session, idempotency.Request(key.user_id, _bare(idempotency_key), asked.digest()))


Idempotent = Annotated[IdempotentRequest, Depends(idempotent, scope="function")]
"""Call it with a function that executes the request, and return the result of the call."""


def _replayed(given: idempotency.StoredAnswer) -> Response:
    headers = {"Idempotency-Replayed": "true"} | ({"Location": given.location} if given.location else {})
    return Response(given.body, given.status, headers, media_type="application/json")


def _bare(key: str) -> str:
    """The draft writes a key as a quoted string; without the quotes it means the same."""
    return key[1:-1] if len(key) > 2 and key[0] == key[-1] == '"' else key
