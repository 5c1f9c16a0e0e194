"""Break a cluster at random moments, many times, and look what became of its jobs.

    make chaos                                  all faults, as often as docs/reliability.md says; prints its table
    python tests/chaos/suite.py --runs 3 --fault "Redis FLUSHALL"

Each run submits three jobs, and one of each other task if HSU_DATA_DIR holds their data. Then it lets one kind of fault
happen once or several times at random moments, mends what was killed, waits until the jobs have ended, and compares
them with runs that nobody disturbed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos import truth
from chaos.cluster import Cluster, cluster
from chaos.faults import FAULTS
from waiting import until

from hsu_client.problem import Unreachable

NEEDS_A_DISK = "full disk for checkpoints"
PATIENCE = 60 * len(truth.SPECS)
"""Seconds in which the short jobs must have ended, whatever happens to them."""


class Run(NamedTuple):
    """What one run showed."""

    fault: str
    found: list[truth.Found]
    seconds: float

    @property
    def broken(self) -> list[truth.Found]:
        """The jobs that are not as if nothing had happened."""
        return [one for one in self.found if one.is_lost or one.is_doubled or one.has_gaps or one.is_unequal]


def run(where: Cluster, faults: Sequence[str], draw: random.Random) -> Run:
    """Submit, break, mend, wait, judge."""
    began = time.monotonic()
    where.wait_for_api()
    jobs = {name: where.client.submit(spec)["id"] for name, spec in truth.SPECS.items()}
    for fault in faults:
        time.sleep(draw.uniform(0.2, 2.5))
        FAULTS[fault](where, draw)
        time.sleep(draw.uniform(0, 1))
        where.mend()
    where.wait_for_api()
    until(lambda: _have_ended(where, jobs.values()), seconds=PATIENCE)
    found = [truth.judge(where, job, name) for name, job in jobs.items()]
    return Run(faults[0], found, time.monotonic() - began)


def _have_ended(where: Cluster, jobs: Iterable[int]) -> bool:
    where.mend()  # what was asked to stop may take its time
    try:
        return all(where.client.job(job)["state"] in ("succeeded", "failed") for job in jobs)
    except Unreachable:
        return False


def table(runs: list[Run]) -> list[str]:
    """The runs by fault, in the form of docs/reliability.md."""
    by_fault: dict[str, list[Run]] = defaultdict(list)
    for each in runs:
        by_fault[each.fault].append(each)
    lines = [
        "| fault | runs | jobs | attempts | lost | doubled | gaps | bitwise equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault, of_fault in [*by_fault.items(), ("all", runs)]:
        found = [one for each in of_fault for one in each.found]
        numbers = [
            len(of_fault),
            len(found),
            sum(one.attempts for one in found),
            sum(one.is_lost for one in found),
            sum(one.is_doubled for one in found),
            sum(one.has_gaps for one in found),
            sum(not one.is_unequal for one in found),
        ]
        lines.append(f"| {fault} | {' | '.join(map(str, numbers))} |")
    return lines


def main() -> None:
    """Run the suite and print its table; exits with 1 if anything was lost, doubled or unequal."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=60)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--fault", choices=FAULTS, action="append", help="only this one; may be repeated")
    chosen = options.parse_args()
    draw = random.Random(chosen.seed)
    runs: list[Run] = []
    with cluster() as where:
        faults = [fault for fault in chosen.fault or FAULTS if where.has_own_disk or fault != NEEDS_A_DISK]
        for number in range(chosen.runs):
            fault = faults[number % len(faults)]
            one = run(where, [fault] * draw.randint(1, 3), draw)
            runs.append(one)
            print(
                f"{number + 1:3} {fault}: {one.seconds:.1f} s, attempts {[job.attempts for job in one.found]}",
                flush=True,
            )
            for job in one.broken:
                print(f"    BROKEN: {job}", flush=True)
    print("\n".join(table(runs)))
    sys.exit(any(one.broken for one in runs))


if __name__ == "__main__":
    main()
