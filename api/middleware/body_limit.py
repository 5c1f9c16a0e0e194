"""How large may a body be? The bytes that arrive are counted, so a body without a Content-Length is stopped too."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.path_prefix import route_path
from api.problems import respond
from hsu_jobs.errors import BodyTooLarge

_PART = re.compile(r"(/v1/datasets/[^/]+/versions/[^/]+|/v1/runs/[^/]+/files/[^/]+)/parts/[^/]+")


class BodyLimit:
    """ASGI middleware: a request over `limit` bytes is answered 413 before its body is read whole.

    The part of an upload may have `part_limit` bytes.
    """

    def __init__(self, app: ASGIApp, *, limit: int, part_limit: int) -> None:
        self.app = app
        self.limit = limit
        self.part_limit = part_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.part_limit if _is_part(scope) else self.limit
        if self._declared(scope) > limit:
            await respond(BodyTooLarge(_detail(limit)))(scope, receive, send)
            return
        await self._count(scope, receive, send, limit)

    async def _count(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        arrived = 0

        async def counted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > limit:
                raise HTTPException(BodyTooLarge.status, _detail(limit))  # the only exception that FastAPI lets through
            return message

        await self.app(scope, counted, send)

    @staticmethod
    def _declared(scope: Scope) -> int:
        length = dict(scope["headers"]).get(b"content-length", b"0")
        return int(length) if length.isdigit() else 0


def _is_part(scope: Scope) -> bool:
    """Whether a request sends a part of an upload."""
    return scope["method"] == "PUT" and _PART.fullmatch(route_path(scope)) is not None


def _detail(limit: int) -> str:
    return f"a body may have {limit} bytes at most"
