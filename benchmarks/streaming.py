"""Does a training on images that are streamed from the disk take longer than on images in memory?

    python benchmarks/streaming.py [--gib N] [--rounds N] [--steps N] [--device cpu|cuda] [--folder FOLDER]

A generated set of N GiB (2) of 28×28 colour images, written as `hsu_core.data.own` writes one, is trained on twice with
the same seed: mapped from its file and streamed, and held by the device. The two take turns, a few steps each, so that
whatever else the machine does falls on both. Told are the medians of a step of each, and the quotient: in wall time,
and in processor time of all threads, in which other programs count less. The first round, in which caches fill, is left
out. The losses of both must be the same bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from hsu_core import spec, tasks
from hsu_core.data.images import Images
from hsu_core.data.own import image_writer, reading
from hsu_core.data.own.manifest import NAME
from hsu_core.data.own.split import Split
from hsu_core.data.own.writing import Space
from hsu_core.ranks import ALONE
from hsu_core.training import optimizers

SHAPE = (3, 28, 28)
CLASSES = 10
BLOCK = 4096


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5, help="of each, in a round")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=None, help="where the set is written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        measure(Path(folder), asked)


def measure(folder: Path, asked: argparse.Namespace) -> None:
    """Write the set, and train on it in both ways."""
    count = int(asked.gib * 2**30 / np.prod(SHAPE))
    generate(folder, count)
    dataset = reading.dataset(folder, name="generated")
    mapped = reading.load(dataset, folder)
    assert isinstance(mapped, Images)
    in_memory = Images(*(np.array(array) for array in mapped))
    runs = {
        "in memory": steps(dataset, in_memory, asked, stream=False),
        "streamed": steps(dataset, mapped, asked, stream=True),
    }
    times: dict[str, list[Times]] = {name: [] for name in runs}
    losses: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(asked.rounds):
        for name, run in runs.items():
            for _ in range(asked.steps):
                began = Times.now()
                losses[name].append(next(run))
                if number:
                    times[name].append(Times.now().since(began))
    assert losses["in memory"] == losses["streamed"]
    print(f"{count:,} images, {asked.device}, medians of {len(times['streamed'])} steps in ms")
    for clock in Times._fields:
        medians = {name: 1000 * statistics.median(getattr(each, clock) for each in times[name]) for name in runs}
        told = ", ".join(f"{name} {median:.2f}" for name, median in medians.items())
        print(f"{clock}: {told}, quotient {medians['streamed'] / medians['in memory']:.3f}")


class Times(NamedTuple):
    """Seconds on two clocks."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Times:
        """What they show."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: Times) -> Times:
        """What has passed."""
        return Times(self.wall - earlier.wall, self.processor - earlier.processor)


def generate(folder: Path, count: int) -> None:
    """A set of random images, with a hundredth of them for the test."""
    drawn = np.random.default_rng(0)
    split = Split(fraction=0.01).of(drawn.integers(0, CLASSES, count).tolist(), None)
    blocks = (
        drawn.integers(0, 256, (min(BLOCK, count - first), *SHAPE), dtype=np.uint8) for first in range(0, count, BLOCK)
    )
    made = image_writer.write_images(folder, blocks, shape=SHAPE, split=split, space=Space(2**40))
    (folder / NAME).write_bytes(made.text)


def steps(dataset: spec.AnyOwnDataset, images: Images, asked: argparse.Namespace, *, stream: bool) -> Iterator[float]:
    """A training of a small network, whose steps are short: the loss of each step."""
    training = spec.TRAINING.validate_python(
        {
            "task": "classification",
            "dataset": dataset.model_dump(),
            "model": {"kind": "small_cnn"},
            "regularizer": {"kind": "none"},
            "augment": "crop_flip",
            "batch_size": asked.batch,
            "duration": {"steps": 10**6},
            "stream": stream,
        }
    )
    task = tasks.prepare(training, images, device=torch.device(asked.device), world=ALONE)
    optimizer = optimizers.build(training.optimizer, task.model, final=set())
    for batch in task.batches(0):
        loss = task.loss(task.outputs(task.model, batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


if __name__ == "__main__":
    main()
