"""A server, a real socket, and a client that sends too much, too slowly, or too often."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import httpx2
import pytest
from samples import DIGITS
from serving import Serving, serving
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.orm import Session
from waiting import until

from hsu_jobs import database
from hsu_jobs.access import keys
from hsu_jobs.tables import Role

New = Callable[[], AbstractContextManager[str]]

MOST_HEAD = 16 * 1024
MOST_AT_ONCE = 20
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: hsu\r\nContent-Type: application/json\r\n"
TOO_SLOW, TOO_LONG, TOO_MANY, TOO_LARGE = (408, "too_slow"), (431, "head_too_large"), (429, "too_many_connections"), 413


@pytest.fixture(scope="module")
def there(new_database: New) -> Iterator[str]:
    """The URL of the server's database."""
    with new_database() as url:
        yield url


@pytest.fixture(scope="module")
def served(there: str, new_redis: New) -> Iterator[Serving]:
    limits = {
        "HSU_MAX_HEAD": str(MOST_HEAD),
        "HSU_HEAD_TIME": "1",
        "HSU_BODY_TIME": "1",
        "HSU_CONNECTIONS_PER_ADDRESS": str(MOST_AT_ONCE),
    }
    with new_redis() as redis_url, serving(there, redis_url, **limits) as api:
        yield api


@contextmanager
def connected(served: Serving) -> Iterator[socket.socket]:
    url = httpx2.URL(served.url)
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        yield connection


def read(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def verdict(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:500]
    told = json.loads(body)
    return told["status"], told["code"]


def send(connection: socket.socket, data: bytes, *, times: int) -> int:
    """Send the same again and again until the other side will not have it; how much was sent."""
    sent = 0
    with suppress(ConnectionError, TimeoutError):
        for _ in range(times):
            connection.sendall(data)
            sent += len(data)
    return sent


def is_there(served: Serving) -> bool:
    return httpx2.get(f"{served.url}/healthz").is_success


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /healthz HTTP/1.1\r\nHost: hsu\r\nX-Long: ",
        b"GET /healthz?",
        b"GET /healthz HTTP/1.1\r\nHost: hsu\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: ",
    ],
    ids=["one header", "the path", "a name", "what follows a body"],
)
def test_a_head_without_an_end_is_cut_off(served: Serving, begin: bytes) -> None:
    with ExitStack() as undo:
        greedy = [undo.enter_context(connected(served)) for _ in range(4)]
        for connection in greedy:
            connection.sendall(begin)
            assert send(connection, b"x" * 65536, times=1280) < 80 * 2**20
        assert is_there(served)
    assert is_there(served)


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"x" * MOST_HEAD + b"\r\n", b"x:\r\n" * (MOST_HEAD // 4)],
    ids=["one long header", "many short ones"],
)
def test_a_head_that_is_too_long_is_told_so(served: Serving, head: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hsu\r\n" + head + b"\r\n")
        assert verdict(read(connection)) == TOO_LONG


def test_a_head_of_nearly_that_length_is_read(served: Serving) -> None:
    assert httpx2.get(f"{served.url}/healthz", headers={"X-Long": "x" * (MOST_HEAD - 500)}).is_success


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /healthz", HEAD], ids=["nothing", "a line", "a word", "a half"])
def test_a_head_that_does_not_end_in_time_is_told_so(served: Serving, sent: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(sent)
        assert verdict(read(connection)) == TOO_SLOW


def test_a_head_that_trickles_ends_too(served: Serving) -> None:
    with connected(served) as connection:
        begun = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - begun < 60:
            with suppress(TimeoutError):
                send(connection, b"\r\n", times=1)
                answer = connection.recv(65536)
        assert verdict(answer) == TOO_SLOW


@pytest.mark.parametrize("how", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_does_not_end_in_time_is_told_so(served: Serving, how: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(HEAD + how)
        assert verdict(read(connection)) == TOO_SLOW


def test_what_is_answered_before_it_was_sent_is_not_waited_for(served: Serving) -> None:
    with connected(served) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        answer = read(connection)  # returns, since the server closes
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_of_a_byte_is_no_larger_than_others(served: Serving) -> None:
    with connected(served) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        assert send(connection, b"1;" + b"x" * 1000 + b"\r\nx\r\n", times=200_000) < 40 * 2**20


def test_an_address_has_so_many_connections_and_no_more(served: Serving) -> None:
    with ExitStack() as undo:
        for _ in range(MOST_AT_ONCE):
            connection = undo.enter_context(connected(served))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hsu\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        one_more = undo.enter_context(connected(served))
        assert verdict(read(one_more)) == TOO_MANY
    until(lambda: _answers(served))


def _answers(served: Serving) -> bool:
    with connected(served) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hsu\r\nConnection: close\r\n\r\n")
        return read(connection).startswith(b"HTTP/1.1 200")


def test_requests_that_come_together_are_all_answered(served: Serving) -> None:
    with connected(served) as connection:
        request = b"GET /healthz HTTP/1.1\r\nHost: hsu\r\n"
        connection.sendall(20 * (request + b"\r\n") + request + b"Connection: close\r\n\r\n")
        assert read(connection).count(b"HTTP/1.1 200") == 21


@pytest.mark.parametrize(
    "request_line", [b"GET /v1/jobs", b"POST /v1/jobs/1/cancel"], ids=["that reads", "that changes"]
)
def test_what_a_request_asks_the_database_ends_when_its_client_is_gone(
    served: Serving, there: str, request_line: bytes
) -> None:
    engine = create_engine(database.with_driver(there), poolclass=NullPool)
    with Session(engine) as session:
        key = keys.create(session, user="ada", role=Role.MEMBER).encode()
        session.commit()
    with engine.connect() as holder:
        holder.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        with connected(served) as connection:
            connection.sendall(request_line + b" HTTP/1.1\r\nHost: hsu\r\nAuthorization: Bearer " + key + b"\r\n\r\n")
            until(lambda: _waiting(engine) == 1, seconds=20)
        until(lambda: _waiting(engine) == 0, seconds=20)  # the server itself would wait for 30 s
    assert is_there(served)


def _waiting(engine: Engine) -> int:
    """Statements that wait for a lock; in a transaction of its own each time, which sees one picture only."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with engine.connect() as looking:
        return int(looking.execute(text(asked)).scalar_one())


def test_a_large_body_goes_through(served: Serving) -> None:
    padded = json.dumps(DIGITS).encode() + b" " * 900_000
    answer = httpx2.post(f"{served.url}/v1/jobs", content=padded, headers={"Content-Type": "application/json"})
    assert answer.json()["code"] == "unauthorized"
