"""What of a job is taken along."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hsu_client.answers import Curve
from hsu_client.client import Client
from hsu_client.export.run import Row, Run, finite


def test_a_run_is_read_row_by_row_with_its_result_on_the_last_one(run: Run) -> None:
    rows = list(run.rows())
    assert [row.step for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0] == Row(1, 1_700_000_001.0, {"conv1/mhe_s2": 1.5, "loss": 10.0})
    assert math.isnan(rows[1].values["conv1/mhe_s2"])
    assert [rows[place].values["conv1/mhe_s2"] for place in (2, 3)] == [math.inf, -math.inf]
    assert rows[4].values["result/test_accuracy"] == 0.5
    assert rows[4].values["loss"] == 50.0
    assert all(before.values.keys() < rows[4].values.keys() for before in rows[:4])
    assert [row.step for row in run.rows()] == [1, 2, 3, 4, 5]


def test_a_run_has_a_name_of_its_own_and_flat_parameters(run: Run) -> None:
    assert run.name == f"{run.job['id']}-digits-with-mhe"
    assert (run.parameters["optimizer.lr"], run.parameters["optimizer.kind"]) == (0.1, "sgd")
    assert run.parameters["model.hidden"] == "[64, 32]"
    assert run.has_ended
    assert run.ended is not None
    assert run.began <= run.ended


@pytest.mark.parametrize(("name", "expected"), [("λ!", "7"), ("a/../b", "7-a-b"), ("x" * 200, f"7-{'x' * 60}")])
def test_a_name_is_always_one_of_a_folder(run: Run, name: str, expected: str) -> None:
    assert run._replace(job=run.job | {"id": 7, "name": name}).name == expected


def test_a_job_without_curves_has_its_result_alone_and_one_without_anything_no_row(client: Client, run: Run) -> None:
    assert [row.step for row in run._replace(curves=[]).rows()] == [5]
    waiting: dict[str, Any] = client.submit(run.job["spec"])
    assert list(Run(waiting, []).rows()) == []
    client.cancel(waiting["id"])


def test_curves_of_different_steps_meet_in_their_rows(run: Run) -> None:
    curves = [Curve(None, "a", [1, 3], [1.0, 3.0]), Curve("l", "b", [2, 3], [2.0, 4.0], times=[0.5, 0.75])]
    rows = list(run._replace(curves=curves, job=run.job | {"result": None}).rows())
    assert [(row.step, row.values) for row in rows] == [(1, {"a": 1.0}), (2, {"l/b": 2.0}), (3, {"a": 3.0, "l/b": 4.0})]


@pytest.mark.parametrize(
    ("value", "expected"), [(1.5, 1.5), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_what_json_lacks_has_a_name(value: float, expected: float | str) -> None:
    assert finite(value) == expected
