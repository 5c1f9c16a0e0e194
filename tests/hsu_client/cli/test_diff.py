"""`hsu diff`: only what is different."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from samples import DIGITS, POINTS, TRAINED

from hsu_client.cli import render
from hsu_client.cli.diff import differences
from hsu_client.cli.main import main
from hsu_client.client import Client


@pytest.fixture
def hsu(served: Any) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": served.url, "HSU_API_KEY": served.key})

    return run


def test_only_fields_that_differ_are_shown(hsu: Any, client: Client) -> None:
    one = client.submit(DIGITS)["id"]
    other = client.submit(DIGITS | {"seed": 3, "regularizer": {"kind": "mhe", "s": 1.0}, "clip_norm": 0.5})["id"]
    shown = hsu("diff", str(one), str(other))
    assert shown.exit_code == 0
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["field", "job", str(one), "job", str(other)],
        ["regularizer.s", "2", "1"],
        ["seed", "0", "3"],
        ["clip_norm", "0.5"],
    ]
    told = json.loads(hsu("diff", "--json", str(one), str(other)).stdout)
    assert told["seed"] == {str(one): 0, str(other): 3}
    assert told["clip_norm"] == {str(one): None, str(other): 0.5}
    same = client.submit(DIGITS)["id"]
    assert hsu("diff", str(one), str(same)).stdout == "no difference\n"
    assert "objective.kind" in hsu("diff", str(one), str(client.submit(POINTS)["id"])).stdout
    assert "give the IDs of two jobs or more" in hsu("diff", str(one), str(one)).stderr


def test_results_are_compared_too() -> None:
    def ended(accuracy: float) -> dict[str, Any]:
        return {"id": 1, "spec": {"seed": 0}, "result": {**TRAINED.model_dump(mode="json"), "test_accuracy": accuracy}}

    assert differences([ended(0.5), ended(0.75), ended(0.5)]) == {"result.test_accuracy": [0.5, 0.75, 0.5]}


def test_a_list_has_regularizer_seed_and_accuracy() -> None:
    job = {"id": 7, "state": "succeeded", "step": 5, "total_steps": 5, "wanted": "run", "name": "a", "result": None}
    spec = {"seed": 3, "regularizer": {"kind": "mhe"}}
    ended = job | {"spec": spec, "result": {"test_accuracy": 0.9812345}}
    assert render.listed(ended) == "job 7 · succeeded · step 5 of 5 · 100 % · mhe · seed 3 · test_accuracy 0.981235 · a"
    assert render.listed(job | {"spec": {"n": 3}}) == "job 7 · succeeded · step 5 of 5 · 100 % · a"
    unread = job | {"spec": {"regularizer": "?"}, "spec_error": "of tomorrow", "total_steps": None}
    assert render.listed(unread) == "job 7 · succeeded · step 5 of ? · spec not readable · a"
