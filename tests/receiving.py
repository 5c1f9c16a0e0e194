"""Real HTTP servers that receive what is sent to webhooks."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    at: float

    @property
    def told(self) -> dict[str, Any]:
        """The JSON in it."""
        told: dict[str, Any] = json.loads(self.body)
        return told


class Receiver(NamedTuple):
    """A server that is up."""

    url: str
    received: list[Received]


Reply = Callable[[BaseHTTPRequestHandler], None]
"""Writes an answer by hand."""


@contextmanager
def receiver(*answers: int | Reply, trusted_by: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on loopback; it gives these answers in turn, and then 204 to whatever comes."""
    left = list(answers)
    received: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            names = {name.lower(): value for name, value in self.headers.items()}
            received.append(Received(self.path, names, body, time.time()))
            answer = left.pop(0) if left else 204
            if callable(answer):
                answer(self)
                return
            self.send_response(answer)
            self.end_headers()
            if answer != 204:
                self.wfile.write(b"said by the receiver")

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """Who is hung up on does not complain."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if trusted_by:
            server.socket = trusted_by.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Receiver(f"http{'s' if trusted_by else ''}://127.0.0.1:{server.server_port}", received)
        finally:
            server.shutdown()
            thread.join()


def said(status: int, *, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> Reply:
    """An answer with these headers."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply
