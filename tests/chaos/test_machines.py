"""Two machines, as far as one is two: process trees with folders of their own, which share database, broker and store.

With the clocks of the suite: leases of 3 s, a look at the queue each second.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chaos.cluster import WORKERS, Cluster, cluster
from chaos.truth import SPECS
from waiting import until

LONG: dict[str, Any] = SPECS["mhe"] | {"duration": {"steps": 10**6}, "checkpoint": {"every": 100}}
STARTING = 300


@pytest.fixture(scope="module")
def where() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def submitted(where: Cluster, spec: dict[str, Any] = LONG) -> int:
    number: int = where.client.submit(spec)["id"]
    return number


def attempts(where: Cluster, job: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = where.client.job(job)["attempts"]
    return found


def ended(where: Cluster, *jobs: int) -> None:
    for job in jobs:
        where.client.cancel(job)
    until(lambda: all(where.client.job(job)["state"] == "cancelled" for job in jobs), seconds=STARTING)


def test_each_machine_takes_a_job_and_one_ends_what_another_began(where: Cluster) -> None:
    jobs = [submitted(where), submitted(where)]
    until(lambda: all(where.client.checkpoints(job) for job in jobs), seconds=STARTING)
    on = {attempts(where, job)[0]["worker"]: job for job in jobs}
    assert on.keys() == set(WORKERS)
    folders = {Path(runner.environ()["HSU_DATA_DIR"]) for runner in where.runners()}
    assert folders == {where.folder / name for name in WORKERS}

    died, stays = WORKERS
    moving = on[died]
    where.client.cancel(on[stays])
    where.kill(died)
    until(lambda: attempts(where, moving)[0]["ended_at"], seconds=5)
    until(lambda: attempts(where, moving)[-1]["resumed_from"], seconds=STARTING)
    first, second = attempts(where, moving)
    assert (first["outcome"]["kind"], second["worker"]) == ("lost", stays)
    ended(where, moving)
    where.mend()


def test_a_worker_that_is_deaf_to_redis_picks_up_work_within_ten_seconds(where: Cluster) -> None:
    where.stop_redis()
    job = submitted(where)
    until(lambda: attempts(where, job), seconds=10)
    where.start_redis()
    ended(where, job)


def test_an_api_that_is_stopped_ends_within_thirty_seconds_though_somebody_listens(where: Cluster) -> None:
    job = submitted(where)
    until(lambda: attempts(where, job), seconds=STARTING)
    follow, key = f"{where.url}/v1/jobs/{job}/log?follow=true", {"Authorization": f"Bearer {where.key}"}
    with httpx2.stream("GET", follow, headers=key, timeout=60) as answer:
        assert answer.status_code == httpx2.codes.OK
        where.signal("api", signal.SIGTERM)
        where.wait("api", seconds=30)
    where.mend()
    where.wait_for_api()
    ended(where, job)
