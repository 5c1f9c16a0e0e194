"""`hsu verify`: what real workers trained gives the same bits again, and where its record was changed it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner, Result

from hsu_client import verification
from hsu_client.cli.main import main
from hsu_client.client import Client
from hsu_client.problem import Problem
from worker.code_version import code_version

BASE: dict[str, Any] = {
    "dataset": {"kind": "digits"},
    "model": {"kind": "small_cnn", "width": 4},
    "regularizer": {"kind": "mhp", "preset": "authors"},
    "strength": {"gradient_ratio": 0.1, "batches": 4},
    "optimizer": {"kind": "sgd", "lr": 0.05},
    "augment": "crop_flip",
    "duration": {"steps": 60},
    "record": {"every": 6},
    "checkpoint": {"every": 25},
}


@pytest.fixture(scope="module")
def client(service: dict[str, str]) -> Iterator[Client]:
    with Client(service["url"], service["key"]) as connected:
        yield connected


@pytest.fixture
def hsu(service: dict[str, str]) -> Any:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"HSU_URL": service["url"], "HSU_API_KEY": service["key"]})

    return run


def trained(client: Client, **changes: Any) -> dict[str, Any]:
    *_, job = client.follow(client.submit(BASE | changes)["id"], poll=0.1)
    assert job["state"] == "succeeded", job["failure"]
    return job


def change_last_bit(service: dict[str, str], job_id: int, measure: str, *, step: int) -> tuple[float, float]:
    """Change the last bit of a recorded value; returns the value before and after."""
    url = service["database_url"].replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as database:
        found = "SELECT number FROM curve_series WHERE job_id = %s AND layer IS NULL AND measure = %s"
        (number,) = database.execute(found, (job_id, measure)).fetchone() or pytest.fail("no such curve")
        blocks = "SELECT first_step, lead, level, last_step, count, series, steps, points FROM curve_blocks"
        for first, lead, level, last, count, series, steps, points in database.execute(
            f"{blocks} WHERE job_id = %s", (job_id,)
        ).fetchall():
            known = np.frombuffer(steps, "<i8") if steps else np.linspace(first, last, count).astype(int)
            if number not in series or step not in known:
                continue
            values = np.frombuffer(points, "<f8").reshape(len(series), count).copy()
            at = (series.index(number), known.tolist().index(step))
            before = float(values[at])
            values[at] = np.nextafter(before, np.inf)
            this = "job_id = %s AND first_step = %s AND lead = %s AND level = %s"
            changed = f"UPDATE curve_blocks SET points = %s WHERE {this}"
            database.execute(changed, (values.tobytes(), job_id, first, lead, level))
            return before, float(values[at])
    raise AssertionError("no block has the value")


def test_a_job_is_equal_until_a_bit_of_its_record_changes(
    service: dict[str, str], client: Client, hsu: Any, tmp_path: Path
) -> None:
    job = trained(client)
    done = verification.verify(client, job["id"], steps=10)
    assert done.is_equal
    assert done.notes == ()
    begin, end = done.parts
    assert (begin.first, begin.last, end.first, end.last) == (0, 10, 50, 60)
    assert set(begin.same) == {"data", "initial_weights", "first_batches", "factor of the strength"}
    assert set(end.same) == {"final_weights", "answers"}
    assert min(begin.values, end.values) > 10

    before, after = change_last_bit(service, job["id"], "loss", step=6)
    told = hsu("verify", str(job["id"]), "--steps", "10")
    assert told.exit_code == 1
    assert f"step 6, loss: the job recorded {after}, this machine found {before}, a difference of -" in told.output
    assert told.output.splitlines()[-1].startswith("differs: step 6, loss")
    unseen = verification.verify(client, job["id"], steps=3)  # up to step 6, the first point after an update
    assert [(each.step, each.what) for each in unseen.parts[0].differences] == [(6, "loss")]


def test_a_changed_certificate_and_changed_answers_are_told(service: dict[str, str], client: Client) -> None:
    job = trained(client, strength=None)
    url = service["database_url"].replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as database:
        wrong = json.dumps("0" * 64)
        database.execute(
            "UPDATE jobs SET result = jsonb_set(result, '{certificate,initial_weights}', %s) WHERE id = %s",
            (wrong, job["id"]),
        )
        database.execute(
            "UPDATE test_answers SET bits = set_bit(bits, 0, 1 - get_bit(bits, 0)) WHERE job_id = %s", (job["id"],)
        )
    begin, end = verification.verify(client, job["id"]).parts
    assert [each.what for each in begin.differences] == ["initial_weights"]
    assert [each.what for each in end.differences] == ["answers"]


def test_a_job_that_was_paused_and_its_fork_are_equal_too(client: Client) -> None:
    long = {"duration": {"steps": 400}, "record": {"every": 20}, "checkpoint": {"every": 390}}
    job_id = client.submit(BASE | long)["id"]
    next((job for job in client.follow(job_id, poll=0.1) if job["step"]), None)
    client.pause(job_id)
    next((job for job in client.follow(job_id, poll=0.1) if job["state"] == "paused"), None)
    client.resume(job_id)
    *_, job = client.follow(job_id, poll=0.1)
    assert job["state"] == "succeeded"
    done = verification.verify(client, job_id)
    assert done.is_equal
    assert [part.first for part in done.parts] == [0, 390]

    fork = client.fork(job_id, {"duration": {"steps": 440}})
    *_, fork = client.follow(fork["id"], poll=0.1)
    assert fork["state"] == "succeeded", fork["failure"]
    of_fork = verification.verify(client, fork["id"])
    assert of_fork.is_equal
    assert of_fork.parts[0].first == 400
    assert {"initial_weights", "first_batches"} <= set(of_fork.parts[0].same)


def test_what_every_job_tells_of_itself(client: Client, hsu: Any) -> None:
    one, other = (trained(client, seed=7, regularizer={"kind": kind}, strength=None) for kind in ("none", "mhe"))
    of_one, of_other = (job["result"]["certificate"] for job in (one, other))
    for name in ("data", "initial_weights", "first_batches"):
        assert of_one[name] == of_other[name]
    assert of_one["final_weights"] != of_other["final_weights"]
    assert of_one["fingerprint"] == one["fingerprint"]
    assert (of_one["version"], of_one["commit"]) == code_version()
    assert of_one["device"] == one["result"]["device"]
    answers = client.answers(one["id"])
    assert answers["right"] / answers["count"] == pytest.approx(one["result"]["test_accuracy"])
    shown = hsu("show", str(one["id"])).output
    assert f"from {of_one['initial_weights'][:12]} to {of_one['final_weights'][:12]}" in shown
    unfinished = client.submit(BASE | {"duration": {"steps": 100_000}})["id"]
    with pytest.raises(Problem, match="has no answers"):
        client.answers(unfinished)
    client.cancel(unfinished)


def test_what_trains_nothing_is_refused(client: Client, hsu: Any) -> None:
    points = {"task": "points", "n": 4, "d": 3, "starts": 1, "objective": {"kind": "riesz"}}
    *_, job = client.follow(client.submit(points)["id"], poll=0.1)
    refused = hsu("verify", str(job["id"]))
    assert refused.exit_code == 1
    assert "trains no network" in refused.output
