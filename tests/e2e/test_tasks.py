"""The examples of the tasks with real data, over HTTP: they end well, and lists sort by their own metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hsu_client.client import Client
from hsu_core import spec
from hsu_jobs.spec import parse

FLOORS = {
    "cora-gcn": ("test_accuracy", 0.79),
    "banking77-ngrams": ("test_accuracy", 0.87),
    "movielens-bpr": ("recall_at_20", 0.1),
}
"""What each reaches at least: less than docs/tasks.md tells, since seeds differ."""


@pytest.mark.dataset
@pytest.mark.parametrize("name", FLOORS)
def test_an_example_of_a_task_ends_well(
    service: dict[str, str], name: str, data_dir: Callable[[spec.Dataset], Path]
) -> None:
    example = json.loads(Path(__file__).parents[2].joinpath(f"examples/{name}.json").read_text(encoding="utf-8"))
    needed = parse(example).required_dataset
    assert needed is not None
    data_dir(needed)
    metric, floor = FLOORS[name]
    with Client(service["url"], service["key"]) as client:
        assert client.quote(example)["costs"]["parameters"] > 0
        *_, job = client.follow(client.submit(example)["id"], poll=0.1)
        assert job["state"] == "succeeded", job["failure"]
        assert job["result"][metric] > floor
        assert job["id"] in [each["id"] for each in client.jobs(where=f"{metric}:gt:{floor}", sort=f"-{metric}")]
        curves = {(curve.layer, curve.measure) for curve in client.curves(job["id"])}
    assert (None, metric) in curves
