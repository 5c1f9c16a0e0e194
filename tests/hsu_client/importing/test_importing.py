"""Runs of the real tools, imported: each value, parameter and time is there once."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.importing import sending, source
from hsu_client.problem import Unreachable

# MLflow's own use of SQLAlchemy, not ours.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
BEGAN = 1_700_000_000


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(tool: str, where: object, *more: str) -> Result:
        environment = {"HSU_URL": served.url, "HSU_API_KEY": served.key}
        arguments = ["import", "--from", tool, str(where), *more]
        return CliRunner().invoke(main, arguments, env=environment, catch_exceptions=False)

    return run


def jobs(done: Result) -> list[int]:
    return [int(line.split()[1].rstrip(":")) for line in done.stdout.splitlines()]


def values(client: Client, job: int) -> dict[str, dict[int, float]]:
    return {each.measure: dict(zip(each.steps, each.values, strict=True)) for each in client.curves(job)}


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def logged(store: str, *, status: str | None = "FINISHED", experiment: str = "lab", steps: int = 3) -> str:
    """A run in MLflow."""
    mlflow = MlflowClient(tracking_uri=store)
    there = mlflow.get_experiment_by_name(experiment)
    where = there.experiment_id if there else mlflow.create_experiment(experiment)
    tags = {"mlflow.source.git.commit": "abc", "mlflow.source.name": "train.py", "team": "vision", "note": "two words"}
    run = mlflow.create_run(where, start_time=1000 * BEGAN, tags=tags, run_name="resnet").info.run_id
    metrics = [Metric("loss", 1 / (1 + step), 1000 * (BEGAN + step), step) for step in range(steps)]
    metrics += [Metric("val/acc", math.nan, 1000 * BEGAN, 0), Metric("val/acc", 0.5, 1000 * (BEGAN + 1), 10)]
    metrics += [Metric("odd", 1.0, 1000 * BEGAN, 5), Metric("odd", 2.0, 1000 * (BEGAN + 1), 5)]
    metrics += [Metric("odd", 3.0, 1000 * (BEGAN + 2), 4), Metric("odd", 4.0, 1000 * (BEGAN + 3), -1)]
    mlflow.log_batch(run, metrics, [Param("lr", "0.1"), Param("net.width", "8")], [RunTag("more", "x")])
    if status:
        mlflow.set_terminated(run, status, end_time=1000 * (BEGAN + 100))
    return str(run)


def test_a_run_of_mlflow_comes_with_all_that_it_has(client: Client, hsu: Any, store: str) -> None:
    run = logged(store)
    done = hsu("mlflow", store)
    (job,) = jobs(done)
    assert done.output == (f"job {job}: resnet, 7 values of 3 curves, 2 left out: a curve has one value a step\n")
    view = client.job(job)
    assert (view["name"], view["state"]) == ("resnet", "succeeded")
    assert (view["started_at"], view["finished_at"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:15:00Z")
    assert set(view["tags"]) >= {"team:vision", "more:x", "experiment:lab"}
    config = view["spec"]["config"]
    assert (config["lr"], config["net.width"]) == ("0.1", "8")
    assert config["imported"] == {"tool": "mlflow", "key": run, "values": 7, "left_out": 2}
    found = values(client, job)
    assert found["loss"] == {0: 1.0, 1: 0.5, 2: 1 / 3}
    assert math.isnan(found["val/acc"][0])
    assert found["val/acc"][10] == 0.5
    assert found["odd"] == {4: 3.0, 5: 2.0}
    (loss,) = client.curves(job, measures=["loss"], times=True)
    assert loss.times == [BEGAN, BEGAN + 1, BEGAN + 2]
    told = client.send_run("GET", f"/v1/runs/{job}/environment")["environment"]
    assert told == {"git": {"commit": "abc"}, "command": ["train.py"]}


@pytest.mark.parametrize(("status", "state"), [("FAILED", "failed"), ("KILLED", "cancelled"), (None, "paused")])
def test_a_run_ends_here_as_it_ended_there(client: Client, hsu: Any, store: str, status: str, state: str) -> None:
    logged(store, status=status)
    (job,) = jobs(hsu("mlflow", store))
    assert client.job(job)["state"] == state


def test_imported_again_it_is_the_same_run(client: Client, hsu: Any, store: str) -> None:
    run = logged(store)
    (job,) = jobs(hsu("mlflow", store))
    before = values(client, job)
    again = hsu("mlflow", store)
    assert (again.exit_code, again.output) == (0, f"job {job}: resnet, is there already\n")
    MlflowClient(tracking_uri=store).log_metric(run, "loss", 9.0, step=9)
    assert "the run has 1 more by now: --again imports it as a new one" in hsu("mlflow", store).output
    assert str(values(client, job)) == str(before)
    (new,) = jobs(hsu("mlflow", store, "--again"))
    assert new != job
    assert values(client, new)["loss"][9] == 9.0


def test_a_run_that_went_on_there_is_written_anew(client: Client, hsu: Any, store: str) -> None:
    run = logged(store, status=None)
    (job,) = jobs(hsu("mlflow", store))
    mlflow = MlflowClient(tracking_uri=store)
    mlflow.log_metric(run, "loss", 9.0, step=3)
    mlflow.set_terminated(run)
    assert jobs(hsu("mlflow", store)) == [job]
    assert client.job(job)["state"] == "succeeded"
    assert values(client, job)["loss"] == {0: 1.0, 1: 0.5, 2: 1 / 3, 3: 9.0}


def test_an_import_that_broke_off_goes_on(
    client: Client, hsu: Any, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(store, steps=100)
    monkeypatch.setattr(sending, "MOST_POINTS", 10)
    ask, asked = Client.send_run, list[str]()

    def breaks(self: Client, method: str, path: str, **request: Any) -> dict[str, Any]:
        asked.append(path)
        if len(asked) == 5:
            raise KeyboardInterrupt
        if len(asked) in (3, 7, 9):
            answer = ask(self, method, path, **request)
            raise Unreachable(str(answer))
        return ask(self, method, path, **request)

    monkeypatch.setattr(Client, "send_run", breaks)
    broken = hsu("mlflow", store)
    assert broken.exit_code == 1
    (job,) = jobs(hsu("mlflow", store))
    assert client.job(job)["state"] == "succeeded"
    assert values(client, job)["loss"] == {step: 1 / (1 + step) for step in range(100)}
    tag = next(tag for tag in client.job(job)["tags"] if tag.startswith("imported:"))
    assert [each["id"] for each in client.jobs(tag=tag)] == [job]


def test_a_folder_of_mlflow_of_which_a_file_is_broken(
    client: Client, hsu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "mlruns"
    run, other = logged(f"file://{folder}"), logged(f"file://{folder}")
    (metric,) = folder.glob(f"*/{run}/metrics/loss")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    assert len(jobs(hsu("mlflow", f"file://{folder}"))) == 2
    metric.write_text("1700000000000 0.5 0\nno number\n", encoding="utf-8")
    done = hsu("mlflow", f"file://{folder}", "--again")
    assert done.exit_code == 1
    assert f"{run}: a file in it is broken" in done.stderr
    assert other in [client.job(job)["spec"]["config"]["imported"]["key"] for job in jobs(done)]


def test_only_the_experiments_that_are_named(hsu: Any, store: str) -> None:
    logged(store, experiment="one")
    logged(store, experiment="two")
    assert len(jobs(hsu("mlflow", store, "--experiment", "two"))) == 1
    refused = hsu("mlflow", store, "--experiment", "three")
    assert refused.exit_code == 1
    assert "has no experiment three; there are Default, one, two" in refused.output


def test_a_run_of_tensorboard_comes_with_all_that_it_has(client: Client, hsu: Any, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "a" / "b")) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1 / (1 + step), step, walltime=BEGAN + step)
        writer.add_scalar("loss", 7.0, 2, walltime=BEGAN + 9)
        writer.add_scalar("nan", math.nan, 0, walltime=BEGAN)
        writer.add_histogram("weights", np.ones(3), 0)
        writer.add_hparams({"lr": 0.1, "opt": "sgd", "nag": True}, {"best": 0.5}, run_name=".")
    done = hsu("tensorboard", tmp_path)
    (job,) = jobs(done)
    view = client.job(job)
    assert (view["name"], view["state"]) == ("a/b", "succeeded")
    assert view["started_at"] == "2023-11-14T22:13:20Z"
    config = view["spec"]["config"]
    assert (config["lr"], config["opt"], config["nag"]) == (0.1, "sgd", True)
    found = values(client, job)
    assert found["loss"] == {step: float(np.float32(7 if step == 2 else 1 / (1 + step))) for step in range(5)}
    assert math.isnan(found["nan"][0])
    assert found["best"] == {0: 0.5}
    assert "weights" not in found
    assert f"job {job}: a/b, is there already\n" == hsu("tensorboard", tmp_path).output
    assert f"job {job}: b, is there already\n" == hsu("tensorboard", tmp_path / "a" / "b").output


def event(step: int, value: Summary.Value) -> Event:
    return Event(wall_time=BEGAN + step, step=step, summary=Summary(value=[value]))


def written(folder: Path, steps: int, *, suffix: str = "") -> Path:
    """An event file with scalars of the newer form."""
    writer = EventFileWriter(str(folder), filename_suffix=suffix)
    for step in range(steps):
        about = create_summary_metadata("", "") if step == 0 else None
        writer.add_event(event(step, Summary.Value(tag="loss", metadata=about, tensor=make_tensor_proto(step / 4))))
    writer.close()
    (path,) = folder.glob(f"*tfevents*{suffix}")
    return path


def test_scalars_of_the_newer_form(client: Client, hsu: Any, tmp_path: Path) -> None:
    written(tmp_path, 3)
    (job,) = jobs(hsu("tensorboard", tmp_path))
    assert values(client, job)["loss"] == {0: 0.0, 1: 0.25, 2: 0.5}


def test_a_broken_file_is_told_by_name_and_the_rest_is_imported(client: Client, hsu: Any, tmp_path: Path) -> None:
    cut = written(tmp_path / "cut", 10)
    cut.write_bytes(cut.read_bytes()[:-20])
    damaged = written(tmp_path / "damaged", 10)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "events.out.tfevents.1").write_bytes(b"no events")
    written(tmp_path / "whole", 10)
    done = hsu("tensorboard", tmp_path)
    assert done.exit_code == 1
    assert f"cut: {cut}: it is cut off or damaged after" in done.stderr
    assert f"damaged: {damaged}: it is cut off or damaged after" in done.stderr
    assert f"none: {tmp_path}/none/events.out.tfevents.1: it is cut off or damaged after 0 records" in done.stderr
    names = [client.job(job)["name"] for job in jobs(done)]
    assert names == ["cut", "damaged", "whole"]
    assert [len(values(client, job)["loss"]) for job in jobs(done)][::2] == [9, 10]


def test_a_folder_without_event_files_is_refused(hsu: Any, tmp_path: Path) -> None:
    refused = hsu("tensorboard", tmp_path)
    assert refused.exit_code == 1
    assert "expected event files" in refused.output
    (tmp_path / "store.db").write_bytes(b"no database" * 1000)
    assert "cannot be read" in hsu("mlflow", f"sqlite:///{tmp_path}/store.db").output


def test_what_a_configuration_cannot_hold_is_shortened() -> None:
    large = source.config({f"key{number}": "x" * 10_000 for number in range(50)} | {"a\0b": math.inf})
    assert set(large.values()) == {"x" * source.LONGEST_TEXT, "inf"}
    assert source.config({"lr": 0.1, "more": [1]}) == {"lr": 0.1, "more": "[1]"}
    huge = source.config({f"{number:0>190}": "x" * 500 for number in range(2000)})
    assert len(str(huge)) < 70_000


def test_many_points_take_few_requests(client: Client, hsu: Any, tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(30_000):
            writer.add_scalar("loss", step, step, walltime=BEGAN + step)
    began = time.perf_counter()
    (job,) = jobs(hsu("tensorboard", tmp_path))
    assert time.perf_counter() - began < 60
    (curve,) = client.curves(job)
    assert curve.steps == list(range(30_000))
