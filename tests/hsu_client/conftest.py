"""A real API over a real database and a real Redis, without a worker: a job stays queued until it is cancelled."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import httpx2
import pytest

from hsu_client.client import Client

New = Callable[[], AbstractContextManager[str]]


class Served(NamedTuple):
    """A running API."""

    url: str
    key: str
    database_url: str


@pytest.fixture(scope="session")
def served(new_redis: New, new_database: New) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port)]
    with new_database() as database_url, new_redis() as redis_url:
        environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
        make_key = [sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", "ada", "--role", "member"]
        key = subprocess.run(make_key, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as api:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url)
            yield Served(url, key, database_url)
            api.terminate()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, served.key) as client:
        yield client


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not get ready")
