"""The short form of `make chaos`: one fault after the other on one cluster, while three jobs train."""

from __future__ import annotations

import random

import pytest
from chaos.cluster import cluster
from chaos.suite import run

FAULTS = [
    "kill -9 of every runner",
    "Redis FLUSHALL",
    "corrupted checkpoint",
    "Postgres restart",
    "kill -9 of a worker",
    "kill -9 of the API",
]


@pytest.mark.usefixtures("kernel_kills_nobody")
def test_jobs_on_a_cluster_that_breaks_end_as_if_nothing_had_happened() -> None:
    with cluster() as where:
        one = run(where, FAULTS, random.Random(11))
    assert one.broken == []
    assert sum(job.attempts for job in one.found) > len(one.found)
