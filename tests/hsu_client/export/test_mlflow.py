"""Runs in a real store of MLflow's, through its own client."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from hsu_client.client import Client
from hsu_client.export import mlflow
from hsu_client.export import run as runs
from hsu_client.export.run import Run
from hsu_jobs.attempts import Claim

# MLflow's own use of SQLAlchemy, not ours.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/store.db"


def history(uri: str, run_id: str, key: str) -> list[tuple[int, float, int]]:
    """Its points, a pair of step and value each, and the time."""
    points = MlflowClient(tracking_uri=uri).get_metric_history(run_id, key)
    return [(each.step, each.value, each.timestamp) for each in sorted(points, key=lambda each: each.step)]


def test_a_job_is_a_run_with_its_curves_spec_and_times(uri: str, run: Run) -> None:
    there = MlflowClient(tracking_uri=uri).get_run(mlflow.log(run, uri))
    assert there.info.run_name == "digits with MHE"
    assert there.info.status == "FINISHED"
    assert (there.info.start_time, there.info.end_time) == tuple(round(1000 * at) for at in (run.began, run.ended or 0))
    assert there.data.tags["hsu.job"] == str(run.job["id"])
    assert there.data.tags["hsu.fingerprint"] == run.job["fingerprint"]
    assert there.data.tags["mlflow.user"] == "ada"
    assert there.data.params["optimizer.lr"] == "0.1"
    assert there.data.params["model.hidden"] == "[64, 32]"
    assert there.data.metrics["result/test_accuracy"] == 0.5
    losses = history(uri, there.info.run_id, "loss")
    assert losses == [(step, 10.0 * step, 1_700_000_000_000 + 1000 * step) for step in range(1, 6)]
    energies = [value for _, value, _ in history(uri, there.info.run_id, "conv1/mhe_s2")]
    assert energies[0] == 1.5
    assert math.isnan(energies[1])
    assert energies[2] > 1e308
    assert energies[3] < -1e308
    assert energies[4] == 0.1


def test_exported_again_it_is_the_same_run_with_what_is_new_and_nothing_twice(
    uri: str, client: Client, claim: Claim, measure: Callable[..., None], end: Callable[[], None]
) -> None:
    measure(1, 2, 3)
    first = mlflow.log(runs.read(client, claim.job_id), uri)
    steps = [step for step, *_ in history(uri, first, "loss")]
    assert steps == [1, 2], "the last one may not be complete yet"
    assert MlflowClient(tracking_uri=uri).get_run(first).info.status == "RUNNING"
    measure(4, 5)
    end()
    assert [mlflow.log(runs.read(client, claim.job_id), uri) for _ in range(3)] == [first] * 3
    assert [step for step, *_ in history(uri, first, "loss")] == [1, 2, 3, 4, 5]
    there = MlflowClient(tracking_uri=uri).get_run(first)
    assert there.info.status == "FINISHED"
    assert len(history(uri, first, "result/test_accuracy")) == 1


def test_many_points_go_in_requests_that_mlflow_takes(uri: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = MlflowClient.log_batch

    def counted(self: MlflowClient, run_id: str, metrics: object = (), **rest: object) -> None:
        sizes.append(len(metrics))  # type: ignore[arg-type]
        real(self, run_id, metrics=metrics, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    curve = run.curves[0]
    steps = list(range(1, 701))
    wide = [
        curve._replace(layer="conv1", measure=f"m {k}/é", steps=steps, values=[float(k)] * 700, times=None)
        for k in range(3)
    ]
    other = run.job | {"id": 10**9}
    run_id = mlflow.log(run._replace(job=other, curves=wide), uri)
    assert max(sizes) <= 1000
    assert sum(sizes) == 3 * 700 + len(run.result)
    assert len(history(uri, run_id, "conv1/m 2/_")) == 700


def test_names_and_values_are_cut_to_what_mlflow_takes(uri: str, run: Run) -> None:
    long = run.job | {"id": 10**9 + 1, "spec": {"name": "x" * 10_000, "a" * 300: 1}}
    there = MlflowClient(tracking_uri=uri).get_run(mlflow.log(run._replace(job=long), uri))
    assert (len(there.data.params["name"]), there.data.params["a" * 250]) == (6000, "1")


def test_another_experiment_is_another_place(uri: str, run: Run) -> None:
    first, second = mlflow.log(run, uri), mlflow.log(run, uri, experiment="other")
    assert first != second
    assert mlflow.log(run, uri, experiment="other") == second
