"""How much may one connection, or one address, use of a server? Limits on heads, times and numbers of connections.

Knows HTTP/1 as uvicorn reads it, before a request reaches the app. Each process counts for itself.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from functools import cache
from http import HTTPStatus
from typing import Any

from uvicorn.middleware.proxy_headers import _TrustedHosts as TrustedHosts
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hsu_jobs.settings import settings

CHUNKED = 8
"""The most bytes on the wire for a byte of a body: in chunks of one byte each takes 6."""
LINGER, LINGER_BYTES = 1.0, 2**20
"""Seconds, and bytes, that a client may still send before it is cut off: otherwise it might never read the reason."""

_open: Counter[str] = Counter()
"""Connections of each address."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds on what comes before, and beside, a request."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._is_in_head = True
        self._head = 0
        self._received = 0
        self._is_over = False
        self._is_refused = False
        self._alarm: asyncio.TimerHandle | None = None
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection."""
        super().connection_made(transport)
        self._address = _counted_as(self.client)
        most = settings().connections_per_address
        if self._address is not None:
            _open[self._address] += 1
            if most and _open[self._address] > most:
                self._refuse(429, "too_many_connections", f"an address may hold {most} connections at once")
                return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        self._end_wait()
        if self._address is not None:
            _open[self._address] -= 1
            if not _open[self._address]:
                del _open[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read the data, unless it exceeds a bound."""
        if self._is_refused:
            self._received += len(data)
            if self._received > LINGER_BYTES:
                self.transport.abort()
            return
        begun, self._received = self._received, self._received + len(data)
        super().data_received(data)
        if self._is_in_head and self._alarm is None:
            self._await_head()
        # A message that begins in the middle of the data counts from the next data on.
        is_within = self._received == begun + len(data)
        limits = settings()
        if self._is_over or (self._is_in_head and is_within and self._received > limits.max_head):
            self._refuse(431, "head_too_large", f"the head of a request may have {limits.max_head} bytes at most")
        elif self._received > limits.max_head + CHUNKED * limits.max_body:
            self._refuse(413, "body_too_large", f"a body may have {limits.max_body} bytes at most")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_in_head, self._head, self._received = True, 0, 0
        if self._alarm is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """A part of the head."""
        self._count(len(url))
        if not self._is_over:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A part of the head, or of the trailers after a body in chunks."""
        self._count(len(name) + len(value))
        if not self._is_over:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request goes to the app, and its body must follow in time."""
        if self._is_over:
            return
        self._end_wait()
        self._is_in_head = False
        super().on_headers_complete()
        time = settings().body_time.total_seconds()
        self._alarm = self.loop.call_later(time, self._too_slow, "body", time)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._is_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: from here on the app's time limits apply."""
        if self._is_over:
            return
        self._end_wait()
        self._is_in_head = True
        self._received = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head += size + len(": \r\n")
        self._is_over = self._is_over or self._head > settings().max_head

    def _await_head(self) -> None:
        time = settings().head_time.total_seconds()
        self._alarm = self.loop.call_later(time, self._too_slow, "head", time)

    def _end_wait(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _too_slow(self, part: str, time: float) -> None:
        if part == "head" and self._is_answering():  # the next request of a client that sends several at once
            self._await_head()
            return
        self._refuse(408, "too_slow", f"the {part} of a request must come within {time:g} s")

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Send the reason unless an answer is under way, and read nothing more."""
        self._is_refused, self._received = True, 0
        self._end_wait()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        is_under_way = self._is_answering() and self.cycle.response_started
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if is_under_way:
            self.transport.abort()
            return
        self.transport.write(_answer(status, code, detail))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER, self.transport.close)


def _answer(status: int, code: str, detail: str) -> bytes:
    title = HTTPStatus(status).phrase
    body = json.dumps({"title": title, "status": status, "code": code, "detail": detail}).encode()
    head = [
        f"HTTP/1.1 {status} {title}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "connection: close",
        *(["retry-after: 10"] if status == HTTPStatus.TOO_MANY_REQUESTS else []),
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def _counted_as(client: tuple[str, int] | None) -> str | None:
    """The address that a connection counts for; None for a Unix socket, and for a proxy, which serves many clients."""
    if client is None or client[0] in _proxies():
        return None
    return client[0]


@cache
def _proxies() -> TrustedHosts:
    return TrustedHosts(os.environ.get("FORWARDED_ALLOW_IPS", ""))
