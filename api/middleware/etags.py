"""Does the client have the current answer? `ETag` and `If-None-Match` (RFC 9110) on every GET with a JSON answer.

A tag is a digest of the body, unless the route has a cheaper one: such a route raises `NotModified` before it loads
anything. Streams and downloads have no tag.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TOLD: dict[str, dict[str, Any]] = {
    "200": {
        "headers": {
            "ETag": {"description": "Send it as `If-None-Match` the next time.", "schema": {"type": "string"}},
        }
    },
    "304": {"description": "Nothing has changed: `If-None-Match` holds the `ETag` of the answer"},
}


class NotModified(Exception):
    """The client already has the current answer, which has this tag."""

    def __init__(self, tag: str) -> None:
        super().__init__(tag)
        self.tag = tag


def has_current(request: Request, tag: str) -> bool:
    """Whether the client has the answer with this tag."""
    return _is_among(tag, request.headers.get("if-none-match", ""))


class ETags:
    """ASGI middleware: adds the tag to each JSON answer, and leaves out a body that the client has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match", "")
        await self.app(scope, receive, _Answer(send, known).send)


class _Answer:
    """One answer that is being sent: its head is held back until its body arrives."""

    def __init__(self, send: Send, known: str) -> None:
        self._send = send
        self._known = known
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            if message["status"] == 304:
                _never_unasked(headers)
            if _can_be_tagged(message["status"], headers):
                self._head = message
                return
        elif self._head is not None:
            head, self._head = self._head, None
            if not message.get("more_body"):
                message = self._tagged(head, message)
            else:  # large answers get their tag where they are made
                _never_unasked(MutableHeaders(raw=head["headers"]))
            await self._send(head)
        await self._send(message)

    def _tagged(self, head: Message, body: Message) -> Message:
        headers = MutableHeaders(raw=head["headers"])
        _never_unasked(headers)
        tag = headers.setdefault("ETag", f'"{hashlib.blake2b(body["body"], digest_size=16).hexdigest()}"')
        if not _is_among(tag, self._known):
            return body
        head["status"] = 304
        for name in ("Content-Length", "Content-Type"):
            del headers[name]
        return {**body, "body": b""}


def install(app: FastAPI) -> None:
    """Add tags to the app's answers."""
    app.add_middleware(ETags)
    app.add_exception_handler(NotModified, _unchanged)


def describe(app: FastAPI) -> None:
    """Describe the tags in the app's OpenAPI document."""
    app.openapi = partial(_described, app.openapi)  # type: ignore[method-assign]


def _described(openapi: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with the tags of every JSON answer to a GET."""
    document = openapi()
    for path in document["paths"].values():
        responses = path.get("get", {}).get("responses", {})
        if "application/json" in responses.get("200", {}).get("content", {}):
            responses["200"]["headers"] = responses["200"].get("headers", {}) | _TOLD["200"]["headers"]
            responses["304"] = {"headers": responses["200"]["headers"]} | _TOLD["304"]
    return document


def _unchanged(_request: Request, error: Exception) -> Response:
    assert isinstance(error, NotModified)
    return Response(status_code=304, headers={"ETag": error.tag})


def _can_be_tagged(status: int, headers: MutableHeaders) -> bool:
    return status == 200 and headers.get("content-type") == "application/json" and "content-disposition" not in headers


def _never_unasked(headers: MutableHeaders) -> None:
    """Caches must ask before they reuse an answer, and must not reuse it for another key."""
    headers.setdefault("Cache-Control", "private, no-cache")
    headers.add_vary_header("Authorization")


def _is_among(tag: str, known: str) -> bool:
    """Weak comparison, as RFC 9110 requires for `If-None-Match`."""
    if known.strip() == "*":
        return True
    return tag.removeprefix("W/") in {each.strip().removeprefix("W/") for each in known.split(",")}
