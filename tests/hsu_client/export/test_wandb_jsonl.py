"""Files as Weights & Biases has them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from hsu_client.export import wandb_jsonl
from hsu_client.export.run import Run


def test_the_history_is_an_object_a_step_with_the_rest_beside_it(run: Run, tmp_path: Path) -> None:
    written = wandb_jsonl.write(run, tmp_path)
    lines = [json.loads(line) for line in (written / "wandb-history.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "_step": 1,
        "_timestamp": 1_700_000_001.0,
        "_runtime": 0.0,
        "conv1/mhe_s2": 1.5,
        "loss": 10.0,
    }
    assert [line["conv1/mhe_s2"] for line in lines] == [1.5, "NaN", "Infinity", "-Infinity", 0.1]
    assert [line["_runtime"] for line in lines] == [0.0, 1.0, 2.0, 3.0, 4.0]
    config = yaml.safe_load((written / "config.yaml").read_text())
    assert config["optimizer"]["value"] == run.job["spec"]["optimizer"]
    assert config["hsu"]["value"]["id"] == run.job["id"]
    summary = json.loads((written / "wandb-summary.json").read_text())
    assert (summary["_step"], summary["loss"], summary["result/test_accuracy"]) == (5, 50.0, 0.5)


def test_written_again_it_is_as_it_was(run: Run, tmp_path: Path) -> None:
    first = {file.name: file.read_text() for file in wandb_jsonl.write(run, tmp_path).iterdir()}
    assert {file.name: file.read_text() for file in wandb_jsonl.write(run, tmp_path).iterdir()} == first


def test_without_times_there_are_steps_alone(run: Run, tmp_path: Path) -> None:
    bare = run._replace(curves=[curve._replace(times=None) for curve in run.curves])
    (first, *_) = wandb_jsonl.write_history(bare, tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(first) == {"_step": 1, "conv1/mhe_s2": 1.5, "loss": 10.0}
