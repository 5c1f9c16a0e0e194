"""What does a tracked run take? Time of `log` and of `save`, and values a second from several clients over HTTP.

    python benchmarks/tracking.py [--clients 4] [--seconds 10]

Each client is a process with a run of its own. Bytes and JSON are sent as `hsu_client.tracking` and a client in another
language send them; beside MLflow they are measured by `benchmarks/service.py`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import asking
import torch
from asking import Service
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from embedded.engines import Engines
from hsu_client.client import Client
from hsu_client.tracking import track
from hsu_client.tracking.columns import Point, encode
from hsu_jobs import database
from hsu_jobs.artifacts import installation
from hsu_jobs.settings import Settings

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
    with TemporaryDirectory(prefix="hsu-bench-") as folder, asking.engines_for(None) as engines:
        os.environ["HSU_ARTIFACTS_DIR"] = str(Path(folder, "artifacts"))
        _measure(engines, given.clients, given.seconds, Path(folder))


def _measure(engines: Engines, clients: int, seconds: float, folder: Path) -> None:
    with asking.running(engines) as service:
        saved = save_call(service, folder)
        print(f"ms of a call of save, {saved.megabytes} MB of tensors, median: {saved.milliseconds:.0f}")
        print(f"— of torch.save to the same disk: {saved.torch:.0f}; seconds until it is there: {saved.seconds:.2f}")
        print(f"µs of a call of log with 10 scalars, median: {log_call(service):.1f}")
        for form in STEPS:
            found = write(service, form=form, clients=clients, seconds=seconds)
            print(f"values a second, {clients} clients, {form}: {found.rate:,.0f}")


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


class Saved(NamedTuple):
    """What it takes to save a state."""

    megabytes: int
    milliseconds: float
    """Of `save` in the loop."""
    torch: float
    """Milliseconds of `torch.save`."""
    seconds: float
    """From the call until the state is a checkpoint of the job."""


def save_call(service: Service, folder: Path, *, megabytes: int = 100, times: int = 5) -> Saved:
    """Medians of saving a state of ten tensors, beside torch's own way, one after the other."""
    _mark_storage(service)
    state = {f"layer{number}.weight": torch.randn(megabytes * 25_000) for number in range(10)}
    ours, theirs, there = [], [], []
    url = f"http://127.0.0.1:{service.port}"
    with track("save", url=url, key=service.key, without=("packages", "git", "gpus")) as run:
        for step in range(1, times + 1):
            began = time.perf_counter()
            run.save(state, step=step, keep=1)
            ours.append(1e3 * (time.perf_counter() - began))
            run.latest()
            there.append(time.perf_counter() - began)
            began = time.perf_counter()
            torch.save(state, folder / "state.pt")
            theirs.append(1e3 * (time.perf_counter() - began))
    return Saved(megabytes, median(ours), median(theirs), median(there))


def _mark_storage(service: Service) -> None:
    """As the first worker does."""
    engine = create_engine(database.with_driver(service.database_url))
    with Session(engine) as session:
        installation.marked_storage(session, Settings())
        session.commit()
    engine.dispose()


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
