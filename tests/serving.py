"""A real API in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx2
import pytest


class Serving(NamedTuple):
    """A process that answers."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(database_url: str, redis_url: str, **variables: str) -> Iterator[Serving]:
    """The API over this database and this Redis, as production runs it, while the `with` lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port)]
    command += ["--timeout-graceful-shutdown", "8"]
    environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url, **variables}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url)
        yield Serving(url, process)
        process.terminate()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/healthz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not get ready")
