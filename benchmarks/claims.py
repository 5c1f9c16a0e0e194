"""How many jobs a second do 16 workers claim, and how long does each wait for its own, as the queue grows?

    python benchmarks/claims.py                         on the system's PostgreSQL, else on an embedded one
    python benchmarks/claims.py --database postgresql://localhost/postgres --jobs 1000 100000

Each claim is `attempts.claim` in a transaction of its own, committed, one after the other without a pause: latency
includes the wait for one's turn. The claimers are threads of two processes. The database is the benchmark's own, and
is dropped at the end. The queue is filled up again before each round, and the first round, in which connections are
made, does not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psycopg
from sqlalchemy import make_url, text

from embedded import engines, postgres
from hsu_jobs import attempts, database
from hsu_jobs.scheduling import Room
from hsu_jobs.settings import settings

SYSTEM = "postgresql://localhost/postgres"
USERS = 20
PROCESSES = 2
SPEC = '{"task": "classification", "limits": {"max_attempts": 5}}'

MAKE_USERS = text("INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, :users) AS n")
FILL = text("""
INSERT INTO jobs (owner_id, name, tags, spec, fingerprint, state, wanted, priority)
SELECT 1 + n % :users, 'job', '{}', CAST(:spec AS jsonb), '', 'queued', 'run', n / :users % 3
FROM generate_series(1, :queued - (SELECT count(*) FROM jobs WHERE state = 'queued')) AS n
""")


class Round(NamedTuple):
    """What the claimers of one process saw."""

    began: float
    ended: float
    latencies: list[float]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", help="a server on which databases may be made")
    options.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="queued at once")
    options.add_argument("--claimers", type=int, default=16)
    options.add_argument("--claims", type=int, default=800, help="in a round")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    print(f"{given.claimers} claimers, {USERS} users, rounds of {given.claims} claims")
    print(f"{'queued':>8} {'claims/s':>9} {'lowest':>7} {'highest':>8} {'p50 ms':>7} {'p99 ms':>7}")
    with _server(given.database) as server:
        for queued in given.jobs:
            _print_row(queued, _measure(server, given, queued))


def _measure(server: str, given: argparse.Namespace, queued: int) -> list[list[Round]]:
    """The rounds, of each what every process saw."""
    with ExitStack() as stack:
        url = stack.enter_context(_own_database(server))
        _open(url)
        stack.callback(database.engine().dispose)
        context = multiprocessing.get_context("spawn")
        ready = context.Barrier(PROCESSES)
        claimers = stack.enter_context(context.Pool(PROCESSES, _begin, (url, ready, given.claimers // PROCESSES)))
        with database.transaction() as session:
            session.execute(MAKE_USERS, {"users": USERS})
        rounds = []
        for _ in range(1 + given.rounds):
            _fill(queued)
            rounds.append(claimers.map(_claim_often, [given.claims // given.claimers] * PROCESSES, chunksize=1))
        return rounds[1:]


def _print_row(queued: int, rounds: list[list[Round]]) -> None:
    rates = sorted(_rate(parts) for parts in rounds)
    latencies = 1e3 * np.array([seconds for parts in rounds for part in parts for seconds in part.latencies])
    p50, p99 = np.percentile(latencies, (50, 99))
    print(
        f"{queued:>8} {np.median(rates):>9.0f} {rates[0]:>7.0f} {rates[-1]:>8.0f} {p50:>7.1f} {p99:>7.1f}", flush=True
    )


def _rate(parts: list[Round]) -> float:
    claims = sum(len(part.latencies) for part in parts)
    return claims / (max(part.ended for part in parts) - min(part.began for part in parts))


def _fill(queued: int) -> None:
    """Queue as many jobs as are missing, and let the database know what it holds, as autovacuum would."""
    with database.transaction() as session:
        session.execute(FILL, {"users": USERS, "queued": queued, "spec": SPEC})
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


class _Claimers:
    """The threads of one process, each with its own worker's name."""

    def __init__(self, ready: Barrier, threads: int) -> None:
        self.ready = ready
        self.threads = ThreadPoolExecutor(threads)
        self.rooms = [Room(f"{os.getpid()}-{number}", "default", ("cpu:0",), 1) for number in range(threads)]


_mine: list[_Claimers] = []
"""This process's."""


def _begin(url: str, ready: Barrier, threads: int) -> None:
    _open(url)
    _mine.append(_Claimers(ready, threads))


def _claim_often(times: int) -> Round:
    """Let every thread claim so often; the processes begin together."""
    (claimers,) = _mine
    claimers.ready.wait()
    began = time.time()
    parts = list(claimers.threads.map(lambda room: [_claim(room) for _ in range(times)], claimers.rooms))
    return Round(began, time.time(), [seconds for part in parts for seconds in part])


def _claim(room: Room) -> float:
    began = time.perf_counter()
    with database.transaction() as session:
        claim = attempts.claim(session, room, settings())
    assert claim is not None
    return time.perf_counter() - began


def _open(url: str) -> None:
    """Let this process work on that database."""
    os.environ["HSU_DATABASE_URL"] = url
    settings.cache_clear()
    database.engine.cache_clear()


@contextmanager
def _server(given: str | None) -> Iterator[str]:
    """The server that was named, the system's if it answers, or one of our own for this run."""
    if given or _answers(SYSTEM):
        yield given or SYSTEM
        return
    with tempfile.TemporaryDirectory(prefix="hsu-claims-") as name:
        folder = Path(name, "engines")
        engines.prepare(folder)
        try:
            yield postgres.start(folder / "postgres")
        finally:
            postgres.stop(folder / "postgres")


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _own_database(server: str) -> Iterator[str]:
    """A migrated database on the server, dropped at the end."""
    name = f"hsu_claims_{secrets.token_hex(4)}"
    plain = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            url = make_url(server).set(database=name).render_as_string(hide_password=False)
            database.migrate(url)
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    main()
