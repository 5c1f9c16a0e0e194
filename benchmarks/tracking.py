"""What does a tracked run take? Microseconds of `log`, and values a second from several clients over HTTP.

    python benchmarks/tracking.py [--clients 4] [--seconds 10]

Each client is a process with a run of its own. Bytes and JSON are sent as `hsu_client.tracking` and a client in another
language send them; beside MLflow they are measured by `benchmarks/service.py`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any, NamedTuple

import asking
from asking import Service

from hsu_client.client import Client
from hsu_client.tracking import track
from hsu_client.tracking.columns import Point, encode

SERIES = 100
STEPS = {"bytes": 1_000, "json": 250}
"""Of a batch: 800 kB of bytes, or half as much in JSON."""


class Written(NamedTuple):
    """Values a second in all, and how many were sent."""

    rate: float
    values: int


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--clients", type=int, default=4)
    options.add_argument("--seconds", type=float, default=10.0)
    given = options.parse_args()
    with asking.engines_for(None) as engines, asking.running(engines) as service:
        print(f"µs of a call of log with 10 scalars, median: {log_call(service):.1f}")
        for form in STEPS:
            found = write(service, form=form, clients=given.clients, seconds=given.seconds)
            print(f"values a second, {given.clients} clients, {form}: {found.rate:,.0f}")


def log_call(service: Service, *, times: int = 20_000) -> float:
    """Median microseconds of `log` with 10 scalars, while the thread sends."""
    scalars = {f"measure{number}": number / 3 for number in range(10)}
    taken = []
    url = f"http://127.0.0.1:{service.port}"
    with track("log", url=url, key=service.key, without=("packages", "git", "gpus")) as run:
        for step in range(times):
            began = time.perf_counter()
            run.log(step, **scalars)
            taken.append(time.perf_counter() - began)
    return 1e6 * sorted(taken)[times // 2]


def write(service: Service, *, form: str, clients: int, seconds: float) -> Written:
    """Send batches from so many processes; each value is in Postgres when its batch is answered."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(clients, initializer=_wait_for, initargs=(spawn.Barrier(clients),)) as pool:
        asked = [(service.port, service.key, form, seconds)] * clients
        sent = sum(pool.starmap(_write_until, asked, chunksize=1))
    return Written(sent / seconds, sent)


def _wait_for(barrier: Barrier) -> None:
    global _all_are_there
    _all_are_there = barrier.wait


_all_are_there: Callable[[], object] = int
"""Returns when every client has begun its run, so that all write at the same time."""


def _write_until(port: int, key: str, form: str, seconds: float) -> int:
    token, count, values = str(uuid.uuid4()), STEPS[form], 0
    names = [f"layer{number // 10}.measure{number % 10}" for number in range(SERIES)]
    with Client(f"http://127.0.0.1:{port}", key) as client:
        run = client.send_run("POST", "/v1/runs", json={"token": token})["id"]
        _all_are_there()
        number, begin = 0, time.time()
        while time.time() < begin + seconds:
            steps = range(number * count, (number + 1) * count)
            number += 1
            _send(client, run, form, token, number, steps, names)
            values += SERIES * count
        elapsed = time.time() - begin
    return int(values * seconds / elapsed)


def _send(client: Client, run: int, form: str, token: str, number: int, steps: range, names: list[str]) -> None:
    headers: dict[str, str] = {"HSU-Token": token}
    if form == "bytes":
        points = [Point(step, 1.8e9 + step, dict.fromkeys(names, step / 3)) for step in steps]
        content: dict[str, Any] = {"content": encode(points)[0]}
        headers["Content-Type"] = "application/octet-stream"
        client.send_run("PUT", f"/v1/runs/{run}/batches/{number}", headers=headers, **content)
        return
    columns = {
        "series": [{"measure": name} for name in names],
        "steps": list(steps),
        "times": [1.8e9 + step for step in steps],
        "values": [[step / 3 for step in steps]] * SERIES,
    }
    headers["Content-Type"] = "application/json"
    content = {"content": json.dumps({"number": number, "columns": [columns]})}
    client.send_run("POST", f"/v1/runs/{run}/batches", headers=headers, **content)


if __name__ == "__main__":
    main()
