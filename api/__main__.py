"""Serve the API: the one command for every place where it runs.

    python -m api --host 0.0.0.0 --port 8000 --workers 2

Knows uvicorn and its bounds. The bounds of a connection, before there is a request, are `api.server.connections`.
"""

from __future__ import annotations

import argparse
import sys

import uvicorn

from hsu_jobs import database
from hsu_jobs.settings import BadSettings

BACKLOG = 2048
"""Connections that the system holds until a process accepts them."""


def main() -> None:
    """Serve until a signal ends it. Ends at once if a setting is invalid, as each of its processes would."""
    asked = _arguments().parse_args()
    try:
        database.require_address()
    except BadSettings as error:
        sys.exit(f"hsu: {error}")
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        http="api.server.connections:BoundedProtocol",
        ws="none",  # no route is a web socket
        backlog=BACKLOG,
        access_log=False,  # a log line of uvicorn costs time for each request, and the app writes its own
        server_header=False,
        timeout_graceful_shutdown=asked.grace,
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the API.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--grace", type=int, default=8, help="seconds for answers under way, at the end")
    return parser


if __name__ == "__main__":
    main()
