"""What does a neighbour cost? Jobs on a CPU alone, two at once, and beside a busy process, with and without a share.

    python benchmarks/neighbours.py --rounds 5

Processes that train the library's small CNN on digits, as `worker.runner` would: "before" with torch's own defaults,
which are all cores and threads that spin, "share" with `worker.cores.environment`, for one slot and for two. The
variants take turns, so that other work on the machine slows all of them alike. Wall-clock seconds from the first step
to the last, medians of the rounds; of two at once the slower one. Also: whether the number of threads changes bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from hsu_core import spec
from hsu_core.outcomes import Finished
from hsu_core.training.callbacks import Callbacks
from worker import cores

OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_NUM_THREADS")
TRAINED = "trained "
"""How the line with the result begins."""


class Measured(NamedTuple):
    """What one process took."""

    seconds: float
    processor: float
    threads: int
    digest: str
    """Of the values that it reported."""


def variants() -> dict[str, tuple[Mapping[str, str], int]]:
    """The environment of each variant, and how many processes run at once."""
    whole, half = cores.environment(1), cores.environment(2)
    sleeping = {"OMP_NUM_THREADS": whole["OMP_NUM_THREADS"], "OMP_WAIT_POLICY": "PASSIVE"}
    return {
        "one, before": ({}, 1),
        "one, share of 1 slot": (whole, 1),
        "one, share of 2 slots": (half, 1),
        "one, sleeping at once": (sleeping, 1),
        "two, before": ({}, 2),
        "two, share of 2 slots": (half, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train:
        print(TRAINED + json.dumps(train(asked.steps)))
        return
    for name in OPENMP:
        os.environ.pop(name, None)
    print_table(measure(rounds=asked.rounds, steps=asked.steps))


def measure(*, rounds: int, steps: int) -> dict[str, list[Measured]]:
    """Every variant in every round, alone and, where it is one process, beside a busy one."""
    found: dict[str, list[Measured]] = {}
    for _ in range(rounds):
        for name, (environment, count) in variants().items():
            found.setdefault(name, []).append(slowest(environment, count=count, steps=steps))
            if count == 1:
                with busy():
                    beside = slowest(environment, count=1, steps=steps)
                found.setdefault(f"{name}, beside a busy process", []).append(beside)
    return found


def slowest(environment: Mapping[str, str], *, count: int, steps: int) -> Measured:
    """So many processes at once; the one that took longest."""
    command = [sys.executable, __file__, "--train", "--steps", str(steps)]
    processes = [
        subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    found = max(_result(process) for process in processes)
    print(f"{count} at once, {dict(environment)}: {found}", file=sys.stderr)
    return found


def _result(process: subprocess.Popen[str]) -> Measured:
    printed, _ = process.communicate()
    line = next(line for line in printed.splitlines() if line.startswith(TRAINED))
    return Measured(*json.loads(line.removeprefix(TRAINED)))


@contextmanager
def busy() -> Iterator[None]:
    """Inside, another process keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def train(steps: int) -> Measured:
    """Train here."""
    import torch  # only the processes that train need it

    from hsu_core.training import loop as loop

    digest = hashlib.sha256()
    began: list[tuple[float, float]] = []

    def report(_step: int, values: Mapping[object, float]) -> None:
        began.append((time.monotonic(), time.process_time()))
        digest.update(repr([value.hex() for value in values.values()]).encode())

    training = spec.ClassificationSpec(
        dataset=spec.Digits(),
        model=spec.SmallCNN(),
        regularizer=spec.MHE(),
        duration=spec.Duration(steps=steps),
        record=spec.Record(measures=()),
    )
    assert isinstance(loop.train(training, callbacks=Callbacks(report=report)), Finished)
    seconds, processor = (last - first for first, last in zip(began[0], began[-1], strict=True))
    return Measured(seconds, processor, torch.get_num_threads(), digest.hexdigest()[:12])


def print_table(found: Mapping[str, Sequence[Measured]]) -> None:
    """A line a variant; ratios are to the first, round by round."""
    base = found["one, before"]
    print(f"{cores.cores()} cores, load {os.getloadavg()[0]:.1f}")
    print("| variant | threads | seconds | processor seconds | of `one, before`: median, lowest, highest |")
    print("|---|---|---|---|---|")
    for name, rounds in found.items():
        ratios = sorted(one.seconds / first.seconds for one, first in zip(rounds, base, strict=True))
        seconds = statistics.median(one.seconds for one in rounds)
        processor = statistics.median(one.processor for one in rounds)
        spread = f"{statistics.median(ratios):.2f}, {ratios[0]:.2f}, {ratios[-1]:.2f}"
        print(f"| {name} | {rounds[0].threads} | {seconds:.2f} | {processor:.2f} | {spread} |")
    bits = {(one.threads, one.digest) for rounds in found.values() for one in rounds}
    for threads in sorted({threads for threads, _ in bits}):
        print(f"{threads} threads: values {', '.join(sorted(digest for own, digest in bits if own == threads))}")


if __name__ == "__main__":
    main()
