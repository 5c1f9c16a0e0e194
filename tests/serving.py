"""A real API in a process of its own, streams from it, and what happens to jobs beside it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import httpx2
import pytest
from samples import DIGITS

from hsu_jobs import database, lifecycle, queries
from hsu_jobs.spec import parse

Seen = tuple[str, str, Any]
"""An event's id, its name and its data."""
AsUser = Callable[["Serving", str], AbstractContextManager[httpx2.Client]]
"""A client of a server with a key of this user."""


DEAF_TO_ALL_BUT_REDIS = "from api.streams import wakeups; wakeups.LOOK = 1e6; from api.__main__ import main; main()"


class Serving(NamedTuple):
    """A process that answers."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(
    database_url: str, redis_url: str, *, grace: int = 8, looks_by_itself: bool = True, **more: str
) -> Iterator[Serving]:
    """The API over this database and this Redis while the `with` lasts.

    `grace`: seconds for those who will not go; without `looks_by_itself` its streams hear of news by Redis alone;
    `more`: settings.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = ["-m", "api"] if looks_by_itself else ["-c", DEAF_TO_ALL_BUT_REDIS]
    command = [sys.executable, *module, "--port", str(port), "--workers", "1", "--grace", str(grace)]
    environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url, **more}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url)
            yield Serving(url, process)
        finally:
            process.terminate()


@contextmanager
def streaming(client: httpx2.Client, path: str, *, after: str | None = None) -> Iterator[Iterator[Seen]]:
    """A live stream, on from a place."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.sse(path, headers=headers) as source:
        assert source.response.status_code == 200, source.response.read()
        yield ((each.id, each.event, json.loads(each.data)) for each in source if each.data)


def submit(**change: Any) -> int:
    """Queue a job of ada's; its id."""
    with database.transaction() as session:
        owner = session.execute(queries.user_by_name("ada")).scalar_one()
        return lifecycle.submit(session, parse(DIGITS | change), owner=owner).id


def cancel(job_id: int) -> None:
    """End a job that waits."""
    with database.transaction() as session:
        lifecycle.cancel(session, job_id)


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/healthz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not get ready")
