"""How long does a modest user wait beside a greedy one?

    python benchmarks/fairness.py                       three kinds of greed, beside the modest user's usual
    python benchmarks/fairness.py --seconds 20 --values 2000000

The API runs as in production (`embedded.up.API`), on engines of its own. The modest user polls a job, lists jobs and
submits one, in turn, with a pause between two requests. The greedy one meanwhile, in a process of low priority, each as
often as it is answered:

    lists    40 connections that list jobs and ask for quotes
    reads    8 connections that read all curves of a job as JSON
    files    8 connections that read them as CSV

Told are the modest user's p50 and p99 in milliseconds, the ratio of the p99 to the usual one, and the most memory that
the API's processes took together.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import NamedTuple

import databases
import httpx2
import numpy as np
import psutil
from sqlalchemy import insert
from streams import SPEC, _is_ready, _redis

from embedded.up import API
from hsu_jobs import database, lifecycle, queries, settings
from hsu_jobs.access import keys
from hsu_jobs.curves import layout
from hsu_jobs.curves.layout import FULL, Matrix
from hsu_jobs.tables import Block, Role, SeriesRow

SERIES = 20
PAUSE = 0.02
"""Seconds between two requests of the modest user."""


class Service(NamedTuple):
    """A running API, and a key for each user."""

    url: str
    process: int
    greedy: str
    modest: str
    job: int
    """The greedy one's, with curves."""

    def client(self, key: str) -> httpx2.Client:
        """A connection with this key."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=120)


class Figures(NamedTuple):
    """What the modest user saw, and what the greedy one got."""

    requests: int
    p50: float
    p99: float
    greedy: int
    memory: float


Greed = Callable[[httpx2.Client, Service], None]


def _lists(client: httpx2.Client, _where: Service) -> None:
    client.get("/v1/jobs", params={"limit": 200})
    client.post("/v1/jobs", params={"dry_run": True}, json=json.loads(SPEC.model_dump_json()))


def _reads(client: httpx2.Client, where: Service) -> None:
    client.get(f"/v1/jobs/{where.job}/curves")


def _files(client: httpx2.Client, where: Service) -> None:
    client.get(f"/v1/jobs/{where.job}/curves", params={"format": "csv"})


KINDS: dict[str, tuple[Greed | None, int]] = {
    "usual": (None, 0),
    "lists": (_lists, 40),
    "reads": (_reads, 8),
    "files": (_files, 8),
}
"""What the greedy user does, and over how many connections."""


def measure(where: Service, greed: Greed | None, connections: int, *, seconds: float) -> Figures:
    """What the modest user waits meanwhile."""
    others = multiprocessing.get_context("spawn")
    over, done = others.Event(), others.Value("i", 0)
    greedy = others.Process(target=_ask_greedily, args=(where, greed, connections, over, done))
    if greed is not None:
        greedy.start()
        time.sleep(3.0)  # it imports, and connects
    waits, memory = _modest(where, seconds=seconds)
    over.set()
    if greed is not None:
        greedy.join()
    p50, p99 = np.percentile(waits, (50, 99))
    return Figures(len(waits), float(p50), float(p99), done.value, memory)


def _ask_greedily(where: Service, greed: Greed, connections: int, over: Event, done: Synchronized[int]) -> None:
    os.nice(19)  # a client of another machine takes nothing of the API's cores

    def ask() -> None:
        with where.client(where.greedy) as client:
            while not over.is_set():
                greed(client, where)
                with done.get_lock():
                    done.value += 1

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _modest(where: Service, *, seconds: float) -> tuple[list[float], float]:
    waits, memory, api = [], 0.0, psutil.Process(where.process)
    spec = json.loads(SPEC.model_dump_json())
    until = time.monotonic() + seconds
    with where.client(where.modest) as client:
        job = client.post("/v1/jobs", json=spec).json()["id"]
        while time.monotonic() < until:
            for ask in (
                lambda: client.get(f"/v1/jobs/{job}"),
                lambda: client.get("/v1/jobs", params={"limit": 20}),
                lambda: client.post("/v1/jobs", json=spec),
            ):
                began = time.perf_counter()
                ask().raise_for_status()
                waits.append(1e3 * (time.perf_counter() - began))
                time.sleep(PAUSE)
            every = [api, *api.children(recursive=True)]
            memory = max(memory, sum(each.memory_info().rss for each in every) / 2**20)
    return waits, memory


def _measured_job(owner: str, values: int) -> int:
    """A job of which so many values were recorded."""
    steps_in_all, random = values // SERIES, np.random.default_rng(0)
    with database.transaction() as session:
        user = session.execute(queries.user_by_name(owner)).scalar_one()
        job = lifecycle.submit(session, SPEC, owner=user).id
        names = [{"job_id": job, "number": n, "layer": f"layer{n}", "measure": "mhe"} for n in range(SERIES)]
        session.execute(insert(SeriesRow), names)
        for first in range(0, steps_in_all, FULL):
            steps = np.arange(first, min(first + FULL, steps_in_all))
            matrix = Matrix(range(SERIES), steps, 1e9 + steps.astype(float), random.random((SERIES, len(steps))))
            session.execute(insert(Block), [layout.row(job, matrix, is_final=True)])
    return job


@contextmanager
def service(values: int) -> Iterator[Service]:
    """The API over a database and a Redis of its own."""
    with databases.server() as server, databases.migrated(server) as url, _redis() as redis_url:
        os.environ |= {"HSU_DATABASE_URL": url, "HSU_REDIS_URL": redis_url}
        settings.settings.cache_clear()
        database.engine.cache_clear()
        with database.transaction() as session:
            greedy, modest = (keys.create(session, user=name, role=Role.MEMBER) for name in ("greedy", "modest"))
        job = _measured_job("greedy", values)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", *API, "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as api:
            address = f"http://127.0.0.1:{port}"
            while not _is_ready(address):
                assert api.poll() is None, "the API does not start"
                time.sleep(0.1)
            try:
                yield Service(address, api.pid, greedy, modest, job)
            finally:
                api.terminate()
                database.engine().dispose()


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=15)
    options.add_argument("--values", type=int, default=2_000_000)
    given = options.parse_args(words)
    print("beside      requests  p50 ms   p99 ms  of usual  greedy's  API MB")
    with service(given.values) as where:
        measure(where, None, 0, seconds=2)  # all is warm
        usual = None
        for name, (greed, connections) in KINDS.items():
            told = measure(where, greed, connections, seconds=given.seconds)
            usual = usual or told.p99
            print(
                f"{name:<10} {told.requests:>9} {told.p50:>7.1f} {told.p99:>8.1f} {told.p99 / usual:>9.1f}"
                f" {told.greedy:>9} {told.memory:>7.0f}"
            )


if __name__ == "__main__":
    main()
