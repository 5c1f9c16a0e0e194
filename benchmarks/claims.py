"""How many jobs a second do 16 workers claim, and how long does each wait for its own, as the queue grows?

    python benchmarks/claims.py                         on the system's PostgreSQL, else on an embedded one
    python benchmarks/claims.py --database postgresql://localhost/postgres --jobs 1000 100000

Each claim is `attempts.claim` in a transaction of its own, committed, one after the other without a pause: latency
includes the wait for one's turn. The claimers are threads of two processes. Each length of queue has a database of its
own, dropped at the end; they take turns round by round, so that a busy machine is busy for all. The queue is filled up
again before each round, and the first round, in which connections are made, does not count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import databases
import numpy as np
import psycopg

from hsu_jobs import attempts, database
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.settings import settings

USERS = 20
PROCESSES = 2
SPEC = '{"task": "points", "n": 12, "d": 3, "objective": {"kind": "riesz", "s": 1}, "limits": {"max_attempts": 5}}'

MAKE_USERS = "INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, %s) AS n"
FILL = """
INSERT INTO jobs (owner_id, name, tags, spec, fingerprint, state, wanted, priority)
SELECT 1 + n %% %(users)s, 'job', '{}', %(spec)s, '', 'queued', 'run', n / %(users)s %% 3
FROM generate_series(1, %(queued)s - (SELECT count(*) FROM jobs WHERE state = 'queued')) AS n
"""


class Part(NamedTuple):
    """What the claimers of one process saw in a round."""

    began: float
    ended: float
    latencies: list[float]


class Round(NamedTuple):
    """What all of them saw: claims a second, and milliseconds."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", help="a server on which databases may be made")
    options.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="queued at once")
    options.add_argument("--claimers", type=int, default=16)
    options.add_argument("--claims", type=int, default=800, help="in a round")
    options.add_argument("--rounds", type=int, default=9)
    given = options.parse_args()
    print(
        f"{given.claimers} claimers, {USERS} users, {given.rounds} rounds of {given.claims} claims; medians of rounds"
    )
    print(f"{'queued':>8} {'claims/s':>9} {'lowest':>7} {'highest':>8} {'p50 ms':>7} {'p99 ms':>7}")
    with ExitStack() as stack:
        server = stack.enter_context(databases.server(given.database))
        queues = {queued: stack.enter_context(_queue(server, queued, given.claimers)) for queued in given.jobs}
        turns = [{queued: claim(given.claims) for queued, claim in queues.items()} for _ in range(1 + given.rounds)]
    for queued in given.jobs:
        _print_row(queued, [turn[queued] for turn in turns[1:]])


@contextmanager
def _queue(server: str, queued: int, claimers: int) -> Iterator[Callable[[int], Round]]:
    """A queue of so many jobs in a database of its own, with its claimers; called, they claim so many at once."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES)
    with _own_database(server) as url, context.Pool(PROCESSES, _begin, (url, together, claimers // PROCESSES)) as pool:

        def claim(jobs: int) -> Round:
            _fill(url, queued)
            return _summed(pool.map(_claim_often, [jobs // claimers] * PROCESSES, chunksize=1))

        yield claim


def _fill(url: str, queued: int) -> None:
    """Queue as many jobs as are missing, and let the database know what it holds, as autovacuum would."""
    with psycopg.connect(databases.plain(url), autocommit=True) as connection:
        connection.execute(FILL, {"users": USERS, "queued": queued, "spec": SPEC})
        connection.execute("VACUUM ANALYZE")


def _summed(parts: list[Part]) -> Round:
    latencies = 1e3 * np.array([seconds for part in parts for seconds in part.latencies])
    seconds = max(part.ended for part in parts) - min(part.began for part in parts)
    p50, p99 = np.percentile(latencies, (50, 99))
    return Round(len(latencies) / seconds, float(p50), float(p99))


def _print_row(queued: int, rounds: list[Round]) -> None:
    rates = [each.rate for each in rounds]
    rate, p50, p99 = np.median(rounds, axis=0)
    print(f"{queued:>8} {rate:>9.0f} {min(rates):>7.0f} {max(rates):>8.0f} {p50:>7.1f} {p99:>7.1f}")


class _Claimers:
    """The threads of one process, each with its own worker's name."""

    def __init__(self, ready: Barrier, threads: int) -> None:
        self.ready = ready
        self.threads = ThreadPoolExecutor(threads)
        self.rooms = [Room(f"{os.getpid()}-{number}", "default", ("cpu:0",), 1) for number in range(threads)]


_mine: list[_Claimers] = []
"""This process's."""


def _begin(url: str, ready: Barrier, threads: int) -> None:
    os.environ["HSU_DATABASE_URL"] = url
    _mine.append(_Claimers(ready, threads))


def _claim_often(times: int) -> Part:
    """Let every thread claim so often; the processes begin together."""
    (claimers,) = _mine
    claimers.ready.wait()
    began = time.time()
    parts = list(claimers.threads.map(lambda room: [_claim(room) for _ in range(times)], claimers.rooms))
    return Part(began, time.time(), [seconds for part in parts for seconds in part])


def _claim(room: Room) -> float:
    began = time.perf_counter()
    with database.transaction() as session:
        claim = attempts.claim(session, room, settings())
    assert claim is not None
    return time.perf_counter() - began


@contextmanager
def _own_database(server: str) -> Iterator[str]:
    """A migrated database on the server with users in it, dropped at the end."""
    with databases.migrated(server) as url:
        with psycopg.connect(databases.plain(url), autocommit=True) as own:
            own.execute(MAKE_USERS, [USERS])
        yield url


if __name__ == "__main__":
    main()
