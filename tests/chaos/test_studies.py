"""A study on a cluster that breaks has the table of one that nobody disturbed, bit for bit; so has a search.

HSU_TEST_STUDY_SEEDS=10 HSU_TEST_SEARCH_TRIALS=40 python -m pytest -s tests/chaos/test_studies.py
                                                      30 jobs, and 40 trials, as `make chaos` runs it
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest
from chaos.cluster import Cluster, cluster
from chaos.faults import FAULTS
from waiting import until

from hsu_client.problem import Unreachable

SEEDS = int(os.environ.get("HSU_TEST_STUDY_SEEDS", "2"))
TRIALS = int(os.environ.get("HSU_TEST_SEARCH_TRIALS", "6"))
KILLS = ("kill -9 of every runner", "kill -9 of a worker", "kill -9 of the API", "Postgres restart", "Redis FLUSHALL")
STUDY: dict[str, Any] = {
    "name": "a study to be broken",
    "base": {
        "dataset": {"kind": "digits"},
        "model": {"kind": "mlp", "hidden": [48, 32]},
        "duration": {"steps": 400},
        "record": {"every": 50, "measures": ["mhe_s2"]},
        "checkpoint": {"every": 60},
        "limits": {"max_attempts": 100},
    },
    "arms": {
        "mhp": {"regularizer": {"kind": "mhp", "inner": {"kind": "authors"}}},
        "comhe": {"regularizer": {"kind": "comhe", "projection": "adversarial"}},
    },
    "seeds": SEEDS,
    "metrics": ["test_accuracy", "test_loss", "mhe_s2@hidden*"],
    "strength": {"gradient_ratio": 0.1},
    "reuse": False,
}


SEARCH: dict[str, Any] = {
    **STUDY,
    "name": "a search to be broken",
    "arms": {"mhe": {"regularizer": {"kind": "mhe"}, "duration": {"steps": 600}}},
    "baseline": "mhe",
    "seeds": 1,
    "search": {
        "space": {
            "/optimizer/lr": {"kind": "float", "low": 0.001, "high": 1, "log": True},
            "/strength/gradient_ratio": {"kind": "float", "low": 0.01, "high": 1, "log": True},
            "/batch_size": {"kind": "choice", "choices": [32, 64, 128]},
        },
        "trials": TRIALS,
        "at_once": 2,
        "metric": "test_loss",
    },
}


@pytest.mark.usefixtures("kernel_kills_nobody")
@pytest.mark.parametrize("study", [STUDY, SEARCH], ids=["study", "search"])
def test_a_study_that_is_broken_has_the_table_of_one_that_is_not(study: dict[str, Any]) -> None:
    draw = random.Random(7)
    with cluster() as where:
        undisturbed = _ended(where, where.client.studies.submit(study)["id"])
        broken = where.client.studies.submit(study)["id"]
        count = _kill_until_a_run_is_hit(where, broken)
        while not _has_ended(where, broken):
            FAULTS[draw.choice(KILLS)](where, draw)
            count += 1
            time.sleep(draw.uniform(0.5, 3))
            where.mend()
        where.wait_for_api()
        table = where.client.studies.table(broken)
        attempts = sum(len(where.client.job(run["job"])["attempts"]) for run in table["runs"])
    print(f"{len(table['runs'])} jobs, {count} faults, {attempts} attempts")
    assert table["metrics"] == undisturbed["metrics"]
    assert table["searches"] == undisturbed["searches"]
    assert [run["values"] for run in table["runs"]] == [run["values"] for run in undisturbed["runs"]]
    assert {run["state"] for run in table["runs"]} == {"succeeded"}
    assert attempts > len(table["runs"])


def _kill_until_a_run_is_hit(where: Cluster, study: int) -> int:
    """Kill runners until a job of the study has been tried twice, or all have ended; returns how often."""
    count = 0
    while not _has_ended(where, study):
        jobs = where.client.jobs(tag=f"study:{study}", fields=("state", "attempts"))
        states = [(job["state"], len(job["attempts"])) for job in jobs]
        if any(attempts > 1 for _, attempts in states):
            break
        if ("running", 1) in states:
            FAULTS["kill -9 of every runner"](where, random.Random(0))
            count += 1
    return count


def _ended(where: Cluster, study: int) -> dict[str, Any]:
    until(lambda: _has_ended(where, study), seconds=600)
    return where.client.studies.table(study)


def _has_ended(where: Cluster, study: int) -> bool:
    try:
        return bool(where.client.studies.show(study)["has_ended"])
    except Unreachable:
        return False
