"""How many jobs a second does the API take, and how many polls of a job's status, from clients that keep on asking?

    python benchmarks/asking.py                         on the system's PostgreSQL and Redis, else on embedded ones
    python benchmarks/asking.py --rounds 5 --seconds 10 --jobs 100000

The API runs as in production (`embedded.up.API`), over a database of its own that is dropped at the end. Each client is
a connection that stays open and asks again as soon as it was answered; all of them are one process that does nothing
but write and read bytes, so that the two cores are left to the service. A submission is a whole spec, validated, with
an idempotency key of its own; a poll carries the `ETag` that the answer before gave. Latency is what a client waits.
`cpu`: processor time of the API's processes for each request, which a busy machine disturbs less than the wall clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
import psutil
import psycopg
import redis
from claims import MAKE_USERS, USERS
from databases import SYSTEM, migrated, plain
from sqlalchemy import make_url
from stored_jobs import store

from embedded import engines
from embedded.engines import Engines
from embedded.up import API
from hsu_jobs.spec import parse

SYSTEM_REDIS = "redis://localhost:6379"
LISTS = (
    "sort=-created",
    "state=queued",
    "tag=sweep-7",
    "regularizer=mhs&fields=id,state,result",
    "where=test_accuracy:gt:0.99&sort=-test_accuracy",
)
SPEC = json.loads(Path(__file__).parent.parent.joinpath("examples", "digits-mhe.json").read_text())
FULL_SPEC = parse(SPEC).model_dump(mode="json")


class Service(NamedTuple):
    """A running API."""

    port: int
    key: str
    """A member's."""
    database_url: str
    process: psutil.Process

    def ask(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """One request, for what is not measured."""
        headers = {"Authorization": f"Bearer {self.key}"} | request.pop("headers", {})
        answer = httpx2.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=60, **request)
        answer.raise_for_status()
        return answer

    def cpu(self) -> float:
        """Seconds of processor time that its processes have used."""
        every = [self.process, *self.process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in every)


class Figures(NamedTuple):
    """What the clients saw: requests a second, milliseconds, and the API's processor time for each, in milliseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float


def submissions(service: Service, *, clients: int = 8, seconds: float = 5.0) -> Figures:
    """Queue jobs as fast as they are accepted."""
    body = json.dumps(SPEC).encode()

    def next_request() -> bytes:
        return _request(service, "POST", "/v1/jobs", body, f"Idempotency-Key: {secrets.token_hex(16)}")

    return _measured(service, next_request, expected=201, clients=clients, seconds=seconds)


def polls(service: Service, job_id: int, *, clients: int = 8, seconds: float = 5.0) -> Figures:
    """Ask for a job that does not change, each time with the tag of what is known of it."""
    path = f"/v1/jobs/{job_id}"
    tag = service.ask("GET", path).headers["etag"]
    request = _request(service, "GET", path, b"", f"If-None-Match: {tag}")
    return _measured(service, lambda: request, expected=304, clients=clients, seconds=seconds)


def reads(service: Service, path: str, *, clients: int = 8, seconds: float = 5.0) -> Figures:
    """Ask for the same, and get all of it each time."""
    request = _request(service, "GET", path, b"")
    return _measured(service, lambda: request, expected=200, clients=clients, seconds=seconds)


def _request(service: Service, method: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {service.key}",
        *(["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _measured(
    service: Service, next_request: Callable[[], bytes], *, expected: int, clients: int, seconds: float
) -> Figures:
    began, used = time.perf_counter(), service.cpu()
    latencies = asyncio.run(_ask_for(service.port, next_request, expected, clients, seconds))
    took = time.perf_counter() - began
    p50, p99 = np.percentile(latencies, (50, 99))
    cpu = 1e3 * (service.cpu() - used) / len(latencies)
    return Figures(len(latencies) / took, 1e3 * float(p50), 1e3 * float(p99), cpu)


async def _ask_for(
    port: int, next_request: Callable[[], bytes], expected: int, clients: int, seconds: float
) -> list[float]:
    until = time.perf_counter() + seconds
    asked = await asyncio.gather(*(_ask_until(port, next_request, expected, until) for _ in range(clients)))
    return [latency for latencies in asked for latency in latencies]


async def _ask_until(port: int, next_request: Callable[[], bytes], expected: int, until: float) -> list[float]:
    """One client: it asks again as soon as it was answered."""
    wanted = f"HTTP/1.1 {expected} ".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    latencies = []
    while (began := time.perf_counter()) < until:
        writer.write(next_request())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_length(head))
        latencies.append(time.perf_counter() - began)
        if not head.startswith(wanted):
            raise RuntimeError(f"expected {expected}, found {(head + body).decode()}")
    writer.close()
    return latencies


def _length(head: bytes) -> int:
    _, found, after = head.lower().partition(b"content-length:")
    return int(after.partition(b"\r\n")[0]) if found else 0


@contextmanager
def running(given: Engines) -> Iterator[Service]:
    """The API as production runs it, on a database of its own, with a member's key."""
    with migrated(given.database_url) as database_url:
        with psycopg.connect(plain(database_url), autocommit=True) as own:
            own.execute(MAKE_USERS, [USERS])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "HSU_DATABASE_URL": database_url,
            "HSU_REDIS_URL": given.redis_url,
            "HSU_RATE_LIMIT": "1000000",  # requests are counted as ever, but none is refused
        }
        command = [sys.executable, "-m", *API, "--port", str(port)]
        key = _new_key(database_url, "ada")
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as api:
            try:
                service = Service(port, key, database_url, psutil.Process(api.pid))
                _wait_until_ready(service)
                yield service
            finally:
                api.terminate()
                api.wait()
                with redis.Redis.from_url(given.redis_url) as used:
                    used.flushdb()


def _new_key(database_url: str, user: str) -> str:
    command = [sys.executable, "-m", "hsu_jobs.admin", "create-key", "--user", user, "--role", "member"]
    environment = {**os.environ, "HSU_DATABASE_URL": database_url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            service.ask("GET", "/readyz")
        except httpx2.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def engines_for(given: Engines | None) -> Iterator[Engines]:
    """The engines that were named, the system's if they answer, or ones of our own for this run."""
    if found := given or _system():
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="hsu-asking-") as name:
        folder = Path(name, "engines")
        engines.prepare(folder)
        try:
            yield engines.start(folder)
        finally:
            engines.stop(folder)


def _system() -> Engines | None:
    """The system's engines, with a Redis database that nobody uses."""
    try:
        psycopg.connect(plain(SYSTEM), connect_timeout=2).close()
        for number in range(1, 16):
            url = f"{SYSTEM_REDIS}/{number}"
            with redis.Redis.from_url(url, socket_connect_timeout=2) as server:
                if server.dbsize() == 0:
                    return Engines(SYSTEM, url)
    except (psycopg.OperationalError, redis.RedisError):
        pass
    return None


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", help="a PostgreSQL server on which databases may be made")
    options.add_argument("--redis", help="an empty Redis database, emptied again at the end")
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=100_000, help="stored when lists are read; 0: no lists")
    given = options.parse_args()
    how = {"clients": given.clients, "seconds": given.seconds}
    chosen = None
    if given.database and given.redis:
        chosen = Engines(make_url(given.database).render_as_string(hide_password=False), given.redis)
    print(f"{given.clients} clients, medians of {given.rounds} rounds of {given.seconds:g} s")
    print(f"{'':60} {'a second':>8} {'p50 ms':>7} {'p99 ms':>7} {'cpu ms':>7}")
    with ExitStack() as stack:
        service = stack.enter_context(running(stack.enter_context(engines_for(chosen))))
        ended = ended_job(service)
        rows = {
            "jobs accepted": lambda: submissions(service, **how),
            "polls of a job that has ended: 304": lambda: polls(service, ended, **how),
            "reads of a job that has ended: 200": lambda: reads(service, f"/v1/jobs/{ended}", **how),
        }
        _print_rows(rows, given.rounds)
        if given.jobs:
            store(plain(service.database_url), jobs=given.jobs, users=USERS, spec=json.dumps(FULL_SPEC))
            print(f"lists of 50 jobs, {given.jobs} stored, of {USERS} users")
            key = service._replace(key=_new_key(service.database_url, "user 1"))
            _print_rows({query: partial(reads, key, f"/v1/jobs?{query}", **how) for query in LISTS}, given.rounds)


def _print_rows(rows: Mapping[str, Callable[[], Figures]], rounds: int) -> None:
    for name, measure in rows.items():
        measure()  # in which connections are made
        _print_row(name, [measure() for _ in range(rounds)])


def _print_row(name: str, rounds: list[Figures]) -> None:
    rate, p50, p99, cpu = np.median(rounds, axis=0)
    print(f"{name:60} {rate:>8.0f} {p50:>7.1f} {p99:>7.1f} {cpu:>7.2f}", flush=True)


def ended_job(service: Service) -> int:
    """A job that nothing happens to any more."""
    made: int = service.ask("POST", "/v1/jobs", json=SPEC).json()["id"]
    service.ask("POST", f"/v1/jobs/{made}/cancel")
    return made


if __name__ == "__main__":
    main()
