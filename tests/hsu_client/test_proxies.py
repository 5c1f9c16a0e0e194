"""A client in an office: proxies of the environment are for other machines, and a wrong one is told in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from hsu_client.cli.main import main
from hsu_client.client import Client

DEAD = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"}


class Proxy(NamedTuple):
    """A listener that hangs up on whoever asks, and keeps what they sent."""

    address: str
    asked: list[bytes]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield Proxy(f"127.0.0.1:{listener.getsockname()[1]}", asked)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", DEAD)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(
    served: Any, monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    monkeypatch.setenv(name, DEAD[name])
    with Client(served.url.replace("127.0.0.1", host), served.key) as client:
        assert list(client.jobs(page=1)) is not None


@pytest.mark.parametrize(
    ("name", "scheme", "first"), [("HTTP_PROXY", "http", b"GET"), ("ALL_PROXY", "socks5", b"\x05")]
)
def test_other_machines_are_asked_through_it(proxy: Proxy, name: str, scheme: str, first: bytes) -> None:
    # In a process of its own: the library leaves the socket open when a SOCKS proxy hangs up.
    given = {"HSU_URL": "http://hsu.invalid", "HSU_API_KEY": "hsu_a_b", name: f"{scheme}://{proxy.address}"}
    hsu = [Path(sys.executable).with_name("hsu"), "list"]
    done = subprocess.run(hsu, env={**os.environ, **given}, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert proxy.asked[0].startswith(first)


def test_a_proxy_that_is_none_is_told_in_one_line() -> None:
    environment = {"HSU_API_KEY": "hsu_a_b", "ALL_PROXY": "gopher://proxy"}
    done = CliRunner().invoke(main, ["list"], env=environment)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "gopher" in done.stderr
    assert done.stderr.count("\n") == 1
