"""How fast does the cluster react? From a submission to the first training step, and from a death to its notice.

    python benchmarks/reactions.py            with the default clocks, on embedded engines
    python benchmarks/reactions.py --fast     with the clocks of `make chaos`

A job's first step: the time at which its second point was measured (after one update) less the time at which the
request was sent. A warm spare runner waits, as it does on any worker that has been up for some seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chaos.cluster import Cluster, cluster
from sqlalchemy import select
from waiting import until

from hsu_jobs.tables import Attempt, Block

JOB = {
    "dataset": {"kind": "digits"},
    "model": {"kind": "small_cnn"},
    "regularizer": {"kind": "mhe"},
    "duration": {"steps": 20},
    "record": {"every": 1},
}
DEFAULTS = {"HEARTBEAT": "10", "LEASE": "45", "POLL": "5", "SWEEP": "10", "FLUSH": "1", "RETRY_AFTER": "5"}


def first_step(where: Cluster) -> float:
    """Seconds from a submission to the first step."""
    time.sleep(12)  # a spare is there again, and has imported what it needs
    sent = time.time()
    job = where.client.submit(JOB)["id"]
    until(lambda: where.client.job(job)["state"] == "succeeded", seconds=120)
    with where.session() as session:
        block = select(Block.steps, Block.times).where(Block.job_id == job).order_by(Block.first_step)
        rows = session.execute(block).all()
    steps = np.concatenate([np.frombuffer(row.steps, "<i8") for row in rows])
    times = np.concatenate([np.frombuffer(row.times, "<f8") for row in rows])
    return float(times[steps == 1][0] - sent)


def deaf(where: Cluster) -> float:
    """Seconds from a submission to its start while Redis is away."""
    where.stop_redis()
    sent = time.time()
    job = where.client.submit(JOB)["id"]
    until(lambda: where.client.job(job)["state"] in ("running", "succeeded"), seconds=120)
    with where.session() as session:
        started = session.execute(select(Attempt.started_at).where(Attempt.job_id == job)).scalar_one()
    where.start_redis()
    return started.timestamp() - sent


def notice(where: Cluster) -> float:
    """Seconds from the death of a worker to the end of its attempt."""
    job = where.client.submit(JOB | {"duration": {"steps": 10**6}, "record": {"every": 1000}})["id"]
    until(lambda: where.client.job(job)["step"] > 0, seconds=60)
    name = where.client.job(job)["attempts"][0]["worker"]
    died = time.time()
    where.kill(name)
    until(lambda: where.client.job(job)["attempts"][0]["ended_at"], seconds=120)
    with where.session() as session:
        ended = session.execute(select(Attempt.ended_at).where(Attempt.job_id == job, Attempt.number == 1)).scalar_one()
    where.client.cancel(job)
    return ended.timestamp() - died


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--fast", action="store_true", help="the clocks of make chaos instead of the defaults")
    chosen = options.parse_args()
    rounds = chosen.rounds
    with cluster(**{} if chosen.fast else DEFAULTS) as where:
        firsts = [first_step(where) for _ in range(rounds)]
        print(f"submit to first step: median {statistics.median(firsts):.2f} s of {rounds}, worst {max(firsts):.2f} s")
        print(f"submit to start with Redis away: {deaf(where):.1f} s")
        print(f"death of a worker to its notice: {notice(where):.1f} s")


if __name__ == "__main__":
    main()
