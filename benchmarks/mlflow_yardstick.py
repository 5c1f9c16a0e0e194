"""What does MLflow's tracking server manage? The yardstick of `benchmarks/service.py`, which runs this file.

Runs under the Python of an environment of its own, that has `mlflow` and `psycopg2`: MLflow is none of our
dependencies. Prints one JSON object.

    python benchmarks/mlflow_yardstick.py URL DATABASE SECONDS
"""

import json
import multiprocessing
import statistics
import sys
import time

import psycopg2
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric

SERIES = 100
BATCH = 1000
"""Metrics in a request: the most that MLflow takes."""


def main(url: str, database: str, seconds: float) -> None:
    """Measure and print."""
    client = MlflowClient(url)
    experiment = client.create_experiment("yardstick")
    found = {f"write_{writers}": _write(url, experiment, writers, seconds) for writers in (1, 4)}
    run = client.create_run(experiment).info.run_id
    sizes = {"m10000": 10_000, "m100000": 100_000, "m1000000": 1_000_000}
    for key, size in sizes.items():
        client.log_metric(run, key, 0.5, step=0)
        _fill(database, run, key, size)
    found["history_10000"] = _median(lambda: client.get_metric_history(run, "m10000"), 3)
    found["history_100000"] = _median(lambda: client.get_metric_history(run, "m100000"), 1)
    found["chart_1000000"] = _median(lambda: _chart(url, run, "m1000000"), 5)
    began = time.perf_counter()
    runs = [client.create_run(experiment).info.run_id for _ in range(200)]
    found["creates"] = 200 / (time.perf_counter() - began)
    began = time.perf_counter()
    for each in runs:
        client.get_run(each)
    found["reads"] = 200 / (time.perf_counter() - began)
    print(json.dumps(found))


def _write(url: str, experiment: str, writers: int, seconds: float) -> float:
    """Values a second of so many processes, each with a run of its own."""
    with multiprocessing.get_context("spawn").Pool(writers) as pool:
        return sum(pool.starmap(_write_until, [(url, experiment, seconds)] * writers, chunksize=1))


def _write_until(url: str, experiment: str, seconds: float) -> float:
    client = MlflowClient(url)
    run = client.create_run(experiment).info.run_id
    names = [f"layer{number // 10}.measure{number % 10}" for number in range(SERIES)]
    step, values, began = 0, 0, time.time()
    while time.time() < began + seconds:
        steps = range(step, step + BATCH // SERIES)
        step += BATCH // SERIES
        now = int(1000 * time.time())
        client.log_batch(
            run, metrics=[Metric(name, each / 3 + len(name), now, each) for each in steps for name in names]
        )
        values += BATCH
    return values / (time.time() - began)


def _fill(database: str, run: str, key: str, size: int) -> None:
    """The rest of a curve, straight into MLflow's table: reading is measured, and writing it so takes minutes."""
    statement = """
        INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
        SELECT %s, sin(n / 1000.0), 1700000000000 + n, %s, n, false FROM generate_series(1, %s) AS n
    """
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, (key, run, size - 1))
        cursor.execute("UPDATE latest_metrics SET step = %s WHERE run_uuid = %s AND key = %s", (size - 1, run, key))


def _chart(url: str, run: str, key: str) -> None:
    """What MLflow's own page asks for."""
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
    answer = requests.get(url + path, params={"run_ids": run, "metric_key": key, "max_results": 1000}, timeout=600)
    answer.raise_for_status()
    assert 900 <= len(answer.json()["metrics"]) <= 1100, len(answer.json()["metrics"])


def _median(what, times: int) -> float:
    """Median seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
