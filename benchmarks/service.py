"""What does the service manage, side by side with MLflow's tracking server?

    make bench                                            sets MLflow up in an environment of its own, then runs this
    python benchmarks/service.py                          without MLflow
    python benchmarks/service.py --mlflow PYTHON          the Python of an environment with mlflow and psycopg2
    python benchmarks/service.py --only reads streams     some parts

On the system's PostgreSQL and Redis, else on embedded ones, in databases of their own that are dropped at the end; the
two systems take turns on the same machine. Prints a table: what was measured, ours, theirs, how many times theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asking
import curve_store
import databases
import streams
import tracking
from sqlalchemy import make_url

Theirs = dict[str, float]
"""What `mlflow_yardstick.py` printed; empty without MLflow."""

POINTS, BUCKETS, SOME = 1_000_000, 1_000, 100_000


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--database", help="a PostgreSQL server on which databases may be made")
    options.add_argument("--mlflow", help="the Python of an environment with mlflow and psycopg2")
    options.add_argument("--seconds", type=float, default=60.0, help="of writing")
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = options.parse_args()
    with databases.server(given.database) as server:
        theirs = _mlflow(server, given.mlflow) if given.mlflow else {}
        print(f"{_machine()}, {time.strftime('%Y-%m-%d')}\n")
        print("| | HSU | MLflow | times |\n|---|---|---|---|", flush=True)
        for part in given.only:
            PARTS[part](server, theirs, given.seconds)


def _writing(server: str, theirs: Theirs, seconds: float) -> None:
    for writers in (1, 4):
        with databases.migrated(server) as url, curve_store.using(url):
            found = curve_store.ingest(url, writers=writers, seconds=seconds)
            several = f"{writers} writer{'s' * (writers > 1)}"
            _row(f"values written a second, {several}", found.values_a_second, theirs.get(f"write_{writers}"))
            _row("— a flush of 10,000 values, p50 / p99 ms", f"{found.flush_p50:.0f} / {found.flush_p99:.0f}")
            if writers > 1:
                weighed = curve_store.space(url)
                _row("bytes a value, merged and vacuumed", f"{weighed.merged:.2f}")


def _reading(server: str, theirs: Theirs, _seconds: float) -> None:
    with databases.migrated(server) as url, curve_store.using(url):
        long, wide = curve_store.long_job(POINTS), curve_store.long_job(SOME, series=100)
        parts: dict[str, tuple[Callable[[], None], str]] = {
            "ms, 1,000,000 points in 1,000 buckets": (lambda: curve_store.sample_once(long, BUCKETS), "chart_1000000"),
            "ms, 100,000 points in full": (lambda: curve_store.read_once(long, SOME), "history_100000"),
            "ms, 10,000 points in full": (lambda: curve_store.read_once(long, 10_000), "history_10000"),
            "ms, 100,000 points of one of 100 curves": (lambda: curve_store.read_once(wide, SOME), ""),
        }
        before = {name: curve_store.median_ms(read, times=50) for name, (read, _) in parts.items()}
        curve_store.others(1_000, 10_000, 4)
        after = {name: curve_store.median_ms(read, times=50) for name, (read, _) in parts.items()}
        for name, (_, key) in parts.items():
            _faster(name, before[name], theirs.get(key))
            _row("— beside 1,000 other jobs of 10,000 steps × 4 curves", f"{after[name]:.1f}")


def _over_http(_server: str, theirs: Theirs, _seconds: float) -> None:
    with asking.engines_for(None) as given, asking.running(given) as service, curve_store.using(service.database_url):
        job = curve_store.long_job(POINTS, owner="ada")
        found = asking.reads(service, f"/v1/jobs/{job}/curves?max_points={BUCKETS}", clients=1)
        _faster("ms over HTTP, 1,000,000 points in 1,000 buckets", found.p50, theirs.get("chart_1000000"))


def _requests(_server: str, theirs: Theirs, _seconds: float) -> None:
    with asking.engines_for(None) as given, asking.running(given) as service:
        asking.submissions(service, seconds=2)  # in which connections are made
        for name, found, key in (
            ("jobs accepted a second, 8 clients", asking.submissions(service, seconds=10), "creates"),
            ("status polls a second with ETag, 8 clients", asking.polls(service, asking.ended_job(service)), "reads"),
        ):
            _row(name, found.rate, theirs.get(key))
            _row("— p50 / p99 ms", f"{found.p50:.1f} / {found.p99:.1f}")


def _tracking(_server: str, theirs: Theirs, seconds: float) -> None:
    with asking.engines_for(None) as given, asking.running(given) as service:
        _row("µs of a call of `log` with 10 scalars, median", f"{tracking.log_call(service):.1f}")
        for form in tracking.STEPS:
            found = tracking.write(service, form=form, clients=4, seconds=min(seconds, 20))
            _row(f"values of tracked runs a second, 4 clients over HTTP, {form}", found.rate, theirs.get("write_4"))


def _streams(_server: str, _theirs: Theirs, _seconds: float) -> None:
    with streams.service() as where:
        streams.measure(where, jobs=20, streams=200, rate=50, seconds=3)  # all is warm
        for jobs in (20, 1):
            found = streams.measure(where, jobs=jobs, streams=200, rate=50, seconds=20)
            watched = f"200 streams, {jobs} job{'s' * (jobs > 1)}"
            _row(f"ms from commit to client, {watched}, p50 / p99", f"{found.p50:.1f} / {found.p99:.1f}")
            _row("— events lost, doubled", f"{found.lost}, {found.doubled}")
        slept = streams.sleep_beside(where)
        _row(
            f"MB of the API, {slept.written:.0f} MB written to a client that does not read",
            f"{slept.before:.0f} → {slept.after:.0f}",
        )


PARTS: dict[str, Callable[[str, Theirs, float], None]] = {
    "writes": _writing,
    "reads": _reading,
    "http": _over_http,
    "requests": _requests,
    "streams": _streams,
    "tracking": _tracking,
}


def _row(name: str, ours: float | str, theirs: float | None = None) -> None:
    """A figure that is better if it is higher."""
    shown = f"{ours:,.0f}" if isinstance(ours, float) else ours
    ratio = f"{ours / theirs:,.0f}" if theirs and isinstance(ours, float) else ""
    print(f"| {name} | {shown} | {f'{theirs:,.0f}' if theirs else ''} | {ratio} |", flush=True)


def _faster(name: str, ours: float, theirs: float | None) -> None:
    """Milliseconds, of which fewer are better; theirs in seconds."""
    ratio = f"{1e3 * theirs / ours:,.0f}" if theirs else ""
    print(f"| {name} | {ours:.1f} | {f'{1e3 * theirs:,.0f}' if theirs else ''} | {ratio} |", flush=True)


def _mlflow(server: str, python: str) -> Theirs:
    """MLflow's figures, from its server over a database of its own on the same PostgreSQL."""
    yardstick = Path(__file__).with_name("mlflow_yardstick.py")
    with databases.empty(server) as database, _tracking(python, database) as url:
        command = [python, str(yardstick), url, databases.plain(database), "10"]
        told: Theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return told


@contextmanager
def _tracking(python: str, database: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    store = make_url(database).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    where = ["--host", "127.0.0.1", "--port", port, "--workers", "2"]
    command = [python, "-m", "mlflow", "server", "--backend-store-uri", store, *where]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracking:
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            tracking.terminate()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(models, platform.machine())}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
