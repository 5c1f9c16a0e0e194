"""What can be sent to a client of HTTP/1.0? Nothing in chunks: the client would take their framing for content.

Knows ASGI. An answer without a length is first written to a temporary file, then sent with its length, so that the
client also sees when it was cut off. A live stream has no length: it is refused with a reason, and so is an answer that
is too large.
"""

from __future__ import annotations

from tempfile import SpooledTemporaryFile

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import respond
from hsu_jobs.errors import JobsError, UpgradeRequired

IN_MEMORY = 1 << 20
"""Bytes of an answer that are kept in memory; a larger answer is written to the disk."""
MOST_KEPT = 1 << 28
"""Bytes of an answer that are stored to learn its length: 256 MiB of the disk."""
_PIECE = 1 << 18
_OLD = ("0.9", "1.0")
_ADVICE = "ask with HTTP/1.1, as `proxy_http_version 1.1` lets nginx do"


class Http10Responses:
    """ASGI middleware: answers to HTTP/1.0 have a length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["http_version"] not in _OLD:
            await self.app(scope, receive, send)
            return
        with SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            answer = _Answer(send, body)
            try:
                await self.app(scope, receive, answer.take)
            except _Refused as refusal:
                await respond(refusal.problem)(scope, receive, send)


class _Refused(Exception):
    """Stops the app while it still makes the answer."""

    def __init__(self, problem: JobsError) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _Answer:
    """One answer that is being sent: its head is held back until the whole body is there, unless it has a length."""

    def __init__(self, send: Send, body: SpooledTemporaryFile[bytes]) -> None:
        self._send = send
        self._body = body
        self._head: Message | None = None

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if "content-length" in headers or message["status"] in (204, 304):
                await self._send(message)
            else:
                _refuse_live(headers)
                self._head = message
            return
        if self._head is None:
            await self._send(message)
            return
        await run_in_threadpool(self._body.write, message.get("body", b""))
        if self._body.tell() > MOST_KEPT:
            raise _Refused(UpgradeRequired(f"over HTTP/1.0 an answer has {MOST_KEPT:,} bytes at most: {_ADVICE}"))
        if not message.get("more_body"):
            await self._send_all(self._head)

    async def _send_all(self, head: Message) -> None:
        MutableHeaders(raw=head["headers"])["content-length"] = str(self._body.tell())
        self._head = None
        await self._send(head)
        self._body.seek(0)
        for piece in iter(lambda: self._body.read(_PIECE), b""):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _refuse_live(headers: Headers) -> None:
    """Refuse an answer that must not be held back (`X-Accel-Buffering`): it is live, and has no known end."""
    if headers.get("x-accel-buffering") == "no":
        raise _Refused(UpgradeRequired(f"HTTP/1.0 knows no stream that goes on: {_ADVICE}"))
