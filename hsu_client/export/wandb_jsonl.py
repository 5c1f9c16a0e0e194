"""How does a job become a run of Weights & Biases? As its history, one JSON object a line, with config and summary.

    DIR/3-digits/wandb-history.jsonl   {"_step": 5, "_timestamp": 1.7e9, "_runtime": 0.4, "conv1/mhe_s2": 1.25, …}
    DIR/3-digits/config.yaml           {"optimizer": {"value": {"kind": "sgd", "lr": 0.1}}, …} (JSON is YAML)
    DIR/3-digits/wandb-summary.json    {"conv1/mhe_s2": 1.125, …, "_step": 250}: the last values, and the result

These are the names and forms of wandb's own files (`wandb.sdk.lib.filenames`), and NaN and infinities are the strings
that it writes: `run.log(line, step=line["_step"])` accepts each line. Needs no library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hsu_client.export.run import Run, finite

HISTORY, CONFIG, SUMMARY = "wandb-history.jsonl", "config.yaml", "wandb-summary.json"


def write(run: Run, folder: Path) -> Path:
    """Write a run into a folder of its own below this one, and replace an earlier export."""
    mine = folder / run.name
    mine.mkdir(parents=True, exist_ok=True)
    write_history(run, mine / HISTORY)
    (mine / CONFIG).write_text(json.dumps(_config(run), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (mine / SUMMARY).write_text(json.dumps(_summary(run)) + "\n", encoding="utf-8")
    return mine


def write_history(run: Run, file: Path) -> Path:
    """Write only the history."""
    with file.open("w", encoding="utf-8") as out:
        for line in _history(run):
            out.write(json.dumps(line, allow_nan=False) + "\n")
    return file


def _history(run: Run) -> Iterator[dict[str, Any]]:
    first = None
    for row in run.rows():
        line: dict[str, Any] = {"_step": row.step}
        if row.time is not None:
            first = row.time if first is None else first
            line |= {"_timestamp": row.time, "_runtime": row.time - first}
        yield line | {name: finite(value) for name, value in row.values.items()}


def _config(run: Run) -> dict[str, Any]:
    about = {"id": run.job["id"], "owner": run.job["owner"], "fingerprint": run.job["fingerprint"]}
    return {name: {"value": value} for name, value in {**run.job["spec"], "hsu": about}.items()}


def _summary(run: Run) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in _history(run):
        last |= line
    return last
