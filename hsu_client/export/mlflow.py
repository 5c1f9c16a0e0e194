"""How does a job become a run in MLflow, on a tracking server or in a local store? Through MLflow's own client.

One job is one run, found by its tags: a repeated export adds what is new and duplicates nothing. NaN is kept; MLflow's
database stores keep an infinity as the largest float. Needs the `mlflow` extra.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from hsu_client.export.run import Row, Run

MOST_METRICS, MOST_PARAMS = 1000, 100
"""Limits of one request to MLflow."""
LONGEST_KEY, LONGEST_VALUE = 250, 6000
JOB, SUBMITTED, UP_TO = "hsu.job", "hsu.submitted_at", "hsu.exported_up_to_step"
_STATUS = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "running": "RUNNING", "lost": "KILLED"}


def log(run: Run, uri: str, *, experiment: str = "hsu") -> str:
    """Write a run, or its new part; returns its id in MLflow."""
    client = MlflowClient(tracking_uri=uri)
    there = client.get_experiment_by_name(experiment)
    where = there.experiment_id if there else client.create_experiment(experiment)
    run_id, up_to = _found(client, run, where) or (_created(client, run, where), -1)
    for metrics, step in _batches(_new_rows(run, up_to), done=up_to, began=run.began):
        client.log_batch(run_id, metrics=metrics, tags=[RunTag(UP_TO, str(step))])
    _close(client, run, run_id)
    return run_id


def _found(client: MlflowClient, run: Run, experiment_id: str) -> tuple[str, int] | None:
    """The job's run in MLflow, and the step up to which it was written."""
    mine = f"tags.`{JOB}` = '{run.job['id']}' AND tags.`{SUBMITTED}` = '{run.job['created_at']}'"
    for there in client.search_runs([experiment_id], mine, max_results=1):
        return there.info.run_id, int(there.data.tags.get(UP_TO, -1))
    return None


def _created(client: MlflowClient, run: Run, experiment_id: str) -> str:
    tags = {
        JOB: str(run.job["id"]),
        SUBMITTED: run.job["created_at"],
        "hsu.fingerprint": run.job["fingerprint"],
        "hsu.tags": ",".join(run.job["tags"]),
        "mlflow.user": run.job["owner"],
    }
    began = round(1000 * run.began)
    created = client.create_run(experiment_id, start_time=began, tags=tags, run_name=run.job["name"])
    run_id = str(created.info.run_id)
    params = [Param(_key(name), _text(value)) for name, value in run.parameters.items()]
    for first in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[first : first + MOST_PARAMS])
    return run_id


def _new_rows(run: Run, up_to: int) -> list[Row]:
    """The steps that are not written yet; while a job runs, its last step may be incomplete and is left for later."""
    rows = list(run.rows())
    complete = rows if run.has_ended else rows[:-1]
    return [row for row in complete if row.step > up_to]


def _batches(rows: Iterable[Row], *, done: int, began: float) -> Iterator[tuple[Sequence[Metric], int]]:
    """Metrics in as few requests as possible, whole steps where they fit, each with the last step that is complete."""
    batch: list[Metric] = []
    for row in rows:
        metrics = _metrics(row.values, at=round(1000 * (row.time or began)), step=row.step)
        if batch and len(batch) + len(metrics) > MOST_METRICS:
            yield batch, done
            batch = []
        while len(metrics) > MOST_METRICS:
            yield metrics[:MOST_METRICS], done
            metrics = metrics[MOST_METRICS:]
        batch += metrics
        done = row.step
    if batch:
        yield batch, done


def _metrics(values: Mapping[str, float], *, at: int, step: int) -> list[Metric]:
    return [Metric(_key(name), value, at, step) for name, value in values.items()]


def _close(client: MlflowClient, run: Run, run_id: str) -> None:
    status = _STATUS.get(run.job["state"], "SCHEDULED")
    if run.has_ended:
        client.set_terminated(run_id, status, end_time=round(1000 * (run.ended or run.began)))
    else:
        client.update_run(run_id, status)


def _key(name: str) -> str:
    """A name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:LONGEST_KEY]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
