"""How long is it from a commit to those who watch, how much is lost, and what does a watcher that sleeps cost?

    python benchmarks/streams.py                      200 streams over 20 jobs, then over one, then a sleeper
    python benchmarks/streams.py --seconds 60 --rate 100

One API process, one process that writes events (each in a transaction of its own, one every 1/rate seconds), one that
reads all streams. Latency: from the return of COMMIT in the writer to the arrival of the bytes in the reader, on the
clock that both share. PostgreSQL is the system's, else an embedded one; Redis an embedded one.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import databases
import httpx2
import numpy as np
import psutil

from embedded import engines, redis_server
from embedded.up import API
from hsu_jobs import database, lifecycle, settings
from hsu_jobs.access import keys
from hsu_jobs.events import Damaged, Prioritised
from hsu_jobs.spec import parse
from hsu_jobs.tables import Role, User

SPEC = parse(
    {
        "dataset": {"kind": "digits"},
        "model": {"kind": "mlp"},
        "regularizer": {"kind": "none"},
        "duration": {"steps": 10},
    }
)
NUMBER = re.compile(rb'"kind":"prioritised","priority":(\d+)}')
SETTLED = 3.0
"""Seconds after the last commit until nothing more is waited for."""


class Figures(NamedTuple):
    """What the readers saw: milliseconds from commit to client, and the API's share of a core."""

    commits: int
    deliveries: int
    lost: int
    doubled: int
    p50: float
    p99: float
    worst: float
    api_cores: float


class Sleeper(NamedTuple):
    """What a client that stops reading cost, in MB, and whether it then got everything."""

    written: float
    before: float
    after: float
    lost: int


class Service(NamedTuple):
    """A running API and a key for it."""

    url: str
    key: str
    process: psutil.Process


@contextmanager
def service() -> Iterator[Service]:
    """An API on a database and a Redis of its own; this process writes beside it."""
    with databases.server() as server, databases.migrated(server) as url, _redis() as redis_url:
        unbounded = {"HSU_STREAMS_PER_KEY": "1000"}  # all are of one key here
        os.environ |= {"HSU_DATABASE_URL": url, "HSU_REDIS_URL": redis_url} | unbounded
        settings.settings.cache_clear()
        database.engine.cache_clear()
        with database.transaction() as session:
            key = keys.create(session, user="ada", role=Role.MEMBER)
        try:
            with _api() as (address, process):
                yield Service(address, key, process)
        finally:
            database.engine().dispose()


def measure(where: Service, *, jobs: int, streams: int, rate: float, seconds: float) -> Figures:
    """Write so many events a second to jobs in turn, each watched by its part of the streams."""
    watched = [_submit() for _ in range(jobs)]
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    paths = [f"/v1/jobs/{watched[number % jobs]}/events/stream" for number in range(streams)]
    reader = context.Process(target=_read_all, args=(theirs, where.url, where.key, paths), daemon=True)
    reader.start()
    assert mine.recv() == "all are there"
    used = sum(where.process.cpu_times()[:2])
    committed = _write(watched, rate=rate, seconds=seconds)
    used = (sum(where.process.cpu_times()[:2]) - used) / seconds
    time.sleep(SETTLED)
    mine.send("enough")
    seen: list[list[tuple[int, float]]] = mine.recv()
    reader.join()
    return _figures(committed, seen, jobs=jobs, cores=used)


def sleep_beside(where: Service, *, events: int = 2000, size: int = 16_000) -> Sleeper:
    """Write large events to a job whose one watcher does not read, then let it read."""
    job = _submit()
    address = urlparse(where.url)
    request = f"GET /v1/jobs/{job}/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {where.key}\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0)) as sleeper:
        sleeper.sendall(request.encode())
        received = [sleeper.recv(100)]
        before = where.process.memory_info().rss
        for number in range(events):
            with database.transaction() as session:
                lifecycle.record(session, job, Damaged(step=number, message="x" * size))
        with database.transaction() as session:
            lifecycle.cancel(session, job)
        after = where.process.memory_info().rss
        while b"event: end" not in received[-1]:
            received.append(sleeper.recv(1 << 20))
    steps = re.findall(rb'"kind":"damaged","step":(\d+),', b"".join(received))
    return Sleeper(events * size / 1e6, before / 1e6, after / 1e6, events - len(set(steps)))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--streams", type=int, default=200)
    options.add_argument("--jobs", type=int, nargs="+", default=[20, 1])
    options.add_argument("--rate", type=float, default=50, help="commits a second")
    options.add_argument("--seconds", type=float, default=30)
    given = options.parse_args()
    print(f"{given.streams} streams, {given.rate:g} commits a second for {given.seconds:g} s")
    print(" jobs  deliveries  lost  doubled  p50 ms  p99 ms  max ms  API cores")
    with service() as where:
        measure(where, jobs=given.jobs[0], streams=given.streams, rate=given.rate, seconds=3)  # all is warm
        for jobs in given.jobs:
            told = measure(where, jobs=jobs, streams=given.streams, rate=given.rate, seconds=given.seconds)
            print(
                f"{jobs:>5} {told.deliveries:>11} {told.lost:>5} {told.doubled:>8} {told.p50:>7.1f} {told.p99:>7.1f}"
                f" {told.worst:>7.1f} {told.api_cores:>10.2f}"
            )
        slept = sleep_beside(where)
    print(
        f"a client that does not read while {slept.written:.0f} MB are written: the API has "
        f"{slept.before:.0f} MB before and {slept.after:.0f} MB after; {slept.lost} events lost once it reads"
    )


def _submit() -> int:
    with database.transaction() as session:
        owner = session.query(User).one()
        return lifecycle.submit(session, SPEC, owner=owner).id


def _write(jobs: Sequence[int], *, rate: float, seconds: float) -> list[float]:
    """Commit events one after another, numbered; when each was committed."""
    committed: list[float] = []
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with database.transaction() as session:
            database.after_commit(session, lambda: committed.append(time.monotonic()))
            lifecycle.record(session, jobs[number % len(jobs)], Prioritised(priority=number))
    return committed


def _figures(
    committed: Sequence[float], seen: Sequence[Sequence[tuple[int, float]]], *, jobs: int, cores: float
) -> Figures:
    lost = doubled = 0
    latencies = []
    for number, mine in enumerate(seen):
        expected = set(range(number % jobs, len(committed), jobs))
        told = [event for event, _ in mine]
        assert told == sorted(told)
        assert set(told) <= expected
        lost += len(expected - set(told))
        doubled += len(told) - len(set(told))
        latencies += [1e3 * (at - committed[event]) for event, at in mine]
    p50, p99, worst = np.percentile(latencies, (50, 99, 100))
    return Figures(len(committed), len(latencies), lost, doubled, float(p50), float(p99), float(worst), cores)


class _Stream(asyncio.Protocol):
    """One watcher: which numbers came, and when."""

    def __init__(self, host: str, path: str, key: str) -> None:
        self.seen: list[tuple[int, float]] = []
        self.begun = asyncio.get_running_loop().create_future()
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.begun.done() and b"event: submitted" in data:
            self.begun.set_result(None)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.seen += [(int(told[1]), now) for line in lines if (told := NUMBER.search(line))]


def _read_all(parent: Connection, url: str, key: str, paths: Sequence[str]) -> None:
    parent.send(asyncio.run(_watch(parent, url, key, paths)))


async def _watch(parent: Connection, url: str, key: str, paths: Sequence[str]) -> list[list[tuple[int, float]]]:
    loop, address = asyncio.get_running_loop(), urlparse(url)
    streams = []
    for path in paths:
        stream = _Stream(address.netloc, path, key)
        await loop.create_connection(lambda stream=stream: stream, address.hostname, address.port)
        streams.append(stream)
    await asyncio.gather(*(stream.begun for stream in streams))
    parent.send("all are there")
    await loop.run_in_executor(None, parent.recv)
    return [stream.seen for stream in streams]


@contextmanager
def _redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hsu-streams-") as name:
        folder = Path(name, "engines")
        engines.prepare(folder)
        try:
            yield redis_server.start(folder / "redis")
        finally:
            redis_server.stop(folder / "redis")


@contextmanager
def _api() -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", *API, "--port", str(port), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as api:
        url = f"http://127.0.0.1:{port}"
        while not _is_ready(url):
            assert api.poll() is None, "the API does not start"
            time.sleep(0.1)
        yield url, psutil.Process(api.pid)
        api.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").is_success
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    main()
