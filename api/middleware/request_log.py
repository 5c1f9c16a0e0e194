"""What does every request get? An id, security headers, a log line, counts, and an audit line.

Knows ASGI. An unexpected error is logged here and answered as a problem, so that the answer carries the request's id.
"""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware import audit, metrics, request_state
from api.middleware.request_state import RequestState
from api.middleware.security_headers import security_headers
from api.problems import unexpected_error
from hsu_jobs import log_format

_log = logging.getLogger("api.requests")


class RequestLog:
    """The outermost ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own = request_state.begin(scope)
        with log_format.of_request(own.request_id), metrics.RequestMetrics(own) as counted:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    own.status = message["status"]
                    message["headers"] = [*message.get("headers", ()), *own.headers, *security_headers(scope)]
                    counted.begins(message["headers"])
                await send(message)

            try:
                await self.app(scope, receive, answer)
            except Exception:
                _log.exception("unexpected error in %s %s", own.method, own.route)
                if own.status:
                    raise  # the response has begun: the client must see that it breaks off
                await unexpected_error()(scope, receive, answer)
            if audit.is_missing(own):
                await run_in_threadpool(audit.write_late, own)
            _write_line(own)


def _write_line(own: RequestState) -> None:
    """The log line of a request."""
    fields = {
        "method": own.method,
        "route": own.route,
        "status": own.status,
        "ms": round(1000 * own.seconds, 1),
        "key": own.key.prefix if own.key else None,
    }
    _log.info("%(method)s %(route)s %(status)s in %(ms)s ms, key %(key)s", fields, extra=fields)
