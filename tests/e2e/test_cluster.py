"""What people ask of running jobs and of machines, over HTTP, in real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from samples import DIGITS
from waiting import until

from hsu_client.client import Client
from hsu_client.problem import Problem

SAVING = DIGITS | {"duration": {"epochs": 10}, "record": {"every": 40}, "checkpoint": {"every": 20}}
LONG = SAVING | {"duration": {"epochs": 150}}
"""Some seconds, so that there is time to ask something of it while it runs."""


@pytest.fixture
def client(service: dict[str, str]) -> Iterator[Client]:
    with Client(service["url"], service["key"]) as client:
        yield client


def ended(client: Client, job: int) -> dict[str, Any]:
    *_, last = client.follow(job, poll=0.1)
    return last


def kept(client: Client, job: int) -> Callable[[], list[dict[str, Any]]]:
    return lambda: client.checkpoints(job)


def curve(client: Client, job: int, measure: str) -> tuple[list[int], list[float]]:
    (found,) = client.curves(job, measures=[measure], layers=["classifier"])
    return found.steps, found.values


def test_a_job_that_was_paused_while_it_ran_ends_as_if_it_had_not_been(client: Client) -> None:
    job = client.submit(LONG)["id"]
    until(kept(client, job), seconds=60)
    asked = client.pause(job)
    assert (asked["state"], asked["wanted"]) == ("running", "pause")
    until(lambda: client.job(job)["state"] == "paused", seconds=60)
    (attempt,) = client.job(job)["attempts"]
    assert attempt["outcome"] == {"kind": "paused"}
    client.resume(job)
    resumed, undisturbed = ended(client, job), ended(client, client.submit(LONG)["id"])
    assert resumed["state"] == undisturbed["state"] == "succeeded"
    assert resumed["attempts"][1]["resumed_from"] == attempt["step"]
    for measure in ("test_accuracy", "test_loss", "train_loss", "penalty"):
        assert resumed["result"][measure] == undisturbed["result"][measure], measure
    assert curve(client, job, "mhe_s2") == curve(client, undisturbed["id"], "mhe_s2")
    kinds = [seen["event"]["kind"] for seen in client.events(job) if seen["event"]["kind"] != "saved"]
    assert kinds == ["submitted", "started", "asked", "ended", "resumed", "started", "restored", "ended"]


def test_a_fork_with_another_regularizer_goes_on_where_its_parent_was(client: Client) -> None:
    parent = ended(client, client.submit(SAVING)["id"])
    newest = client.checkpoints(parent["id"])[0]["step"]
    fork = client.fork(parent["id"], {"regularizer": {"kind": "mhs"}, "duration": {"epochs": 15}})
    assert fork["parent"] == {"id": parent["id"], "step": newest}
    done = ended(client, fork["id"])
    assert done["state"] == "succeeded", done["failure"]
    assert done["attempts"][0]["resumed_from"] == newest
    steps, values = curve(client, fork["id"], "mhe_s2")
    before = [place for place, step in enumerate(steps) if step < newest]
    assert steps == sorted(set(steps))
    assert values[: len(before)] == curve(client, parent["id"], "mhe_s2")[1][: len(before)]
    assert steps[-1] == done["total_steps"]


def test_a_drained_worker_gives_its_job_back_and_goes_on_when_it_is_restored(client: Client) -> None:
    (worker,) = client.workers()
    job = client.submit(LONG | {"duration": {"epochs": 200}})["id"]
    until(kept(client, job), seconds=60)
    client.drain(worker["name"], now=True)
    until(lambda: client.job(job)["state"] == "queued", seconds=60)
    assert client.job(job)["waiting"]["reason"] == "no_worker"
    assert [place["job"] for place in client.queue()["places"]] == [job]
    client.restore(worker["name"])
    until(lambda: client.job(job)["state"] == "running", seconds=60)
    client.cancel(job)
    done = ended(client, job)
    assert [attempt["outcome"]["kind"] for attempt in done["attempts"]] == ["released", "cancelled"]


def test_a_log_is_followed_from_a_terminal_until_the_job_ends(client: Client, service: dict[str, str]) -> None:
    job = client.submit(SAVING)["id"]
    until(lambda: client.job(job)["attempts"], seconds=60)
    command = [sys.executable, "-c", "from hsu_client.cli.main import main; main()", "log", str(job), "--follow"]
    environment = {"HSU_URL": service["url"], "HSU_API_KEY": service["key"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert client.job(job)["state"] == "succeeded"
    assert "the attempt ended" in done.stdout
    assert done.stdout == "".join(client.log(job))


def test_more_gpus_than_the_machine_has_are_refused_with_what_there_is(client: Client) -> None:
    (worker,) = client.workers()
    with pytest.raises(Problem, match=f"the largest has {len(worker['devices'])}") as caught:
        client.submit(DIGITS | {"resources": {"gpus": 64}, "batch_size": 64})
    assert [fault.pointer for fault in caught.value.errors] == ["/resources/gpus"]
