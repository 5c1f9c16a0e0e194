"""A server of several processes whose first one is killed: the others go too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import httpx2
import psutil
from waiting import until

from embedded import processes
from embedded.up import API


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def test_the_processes_of_a_server_that_was_killed_end_and_free_its_port(database_url: str, redis_url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HSU_DATABASE_URL": database_url, "HSU_REDIS_URL": redis_url}
    with subprocess.Popen([sys.executable, "-m", *API, "--port", str(port)], env=environment) as server:
        until(lambda: is_ready(f"http://127.0.0.1:{port}"), seconds=60)
        others = psutil.Process(server.pid).children(recursive=True)
        assert len(others) >= 2
        server.kill()
    assert processes.wait_until_gone(others, seconds=10) == []
    with socket.create_server(("127.0.0.1", port)):
        pass  # nobody else listens there
