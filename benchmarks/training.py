"""Is the training loop as fast as the best plain loop that one can write?

    python benchmarks/training.py [--steps N] [--rounds N] [--threads N]

cnn9 on random images of CIFAR-100's shape, batch 128, no regularizer. `train` records the whole panel every 50 steps;
the plain loops, written out below, record nothing. All take turns step by step: between two of its steps `train` asks
whether to stop, and there each plain loop makes a step of its own. So whatever else the machine does falls on all of
them alike. Wall seconds, or with `--threads 1` processor seconds, in which other programs count less; the first step of
each is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from hsu_core import models, spec
from hsu_core.data.batches import Batches
from hsu_core.data.images import Images
from hsu_core.training import loop as trainer
from hsu_core.training.callbacks import Callbacks

FACTS = spec.CIFAR100.facts
BATCH = 128
RECORD_EVERY = 50


class Plain(NamedTuple):
    """A loop that one would write by hand."""

    bf16: bool
    channels_last: bool


RIVALS: dict[str, dict[str, Plain]] = {
    "fp32": {"fp32, channels last": Plain(bf16=False, channels_last=True)},
    "bf16": {
        "fp32, contiguous": Plain(bf16=False, channels_last=False),
        "bf16, channels last": Plain(bf16=True, channels_last=True),
    },
}
"""What `train` is compared with in each precision."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=RECORD_EVERY)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    if asked.steps % RECORD_EVERY:
        parser.error(f"--steps must be a multiple of {RECORD_EVERY}, that recording has its share; found {asked.steps}")
    torch.set_num_threads(asked.threads)
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    images = random_images()
    print(f"{asked.threads} threads, {asked.rounds} rounds of {asked.steps} steps, torch {torch.__version__}\n")
    print("| train | ms a step | plain loop | ms a step | speed of train, of the plain loop | in each round |")
    print("|---|---|---|---|---|---|", flush=True)
    for precision, rivals in RIVALS.items():
        rounds = [_side_by_side(images, asked.steps, precision, rivals, clock=clock) for _ in range(asked.rounds)]
        for name in rivals:
            ours, theirs = ([one[which] for one in rounds] for which in ("train", name))
            ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
            print(
                f"| {precision}, recording | {1000 * statistics.median(ours):.0f} "
                f"| {name} | {1000 * statistics.median(theirs):.0f} "
                f"| {statistics.median(ratios):.2f} | {', '.join(f'{ratio:.2f}' for ratio in ratios)} |",
                flush=True,
            )


def random_images() -> Images:
    """Random pixels and labels of CIFAR-100's shape, 60 batches."""
    generator = np.random.default_rng(0)
    count = 60 * BATCH
    x = generator.integers(0, 256, (count, *FACTS.shape), dtype=np.uint8)
    y = generator.integers(0, FACTS.classes, count)
    return Images(x, y, x[:BATCH], y[:BATCH])


def _side_by_side(
    images: Images, steps: int, precision: str, rivals: Mapping[str, Plain], *, clock: Callable[[], float]
) -> dict[str, float]:
    """Mean seconds a step of `train` and of each rival, which take turns."""
    turns = Turns({name: plain_loop(images, rival) for name, rival in rivals.items()}, steps=steps, clock=clock)
    train(images, precision, should_stop=turns)
    return turns.seconds_a_step


class Turns:
    """`should_stop` of a training: lets the others make a step, and keeps everyone's time."""

    def __init__(self, others: Mapping[str, Iterator[None]], *, steps: int, clock: Callable[[], float]) -> None:
        self._others = others
        self._clock = clock
        self._steps = steps
        self._asked = 0
        self._left = 0.0
        self._seconds = dict.fromkeys(("train", *others), 0.0)

    def __call__(self) -> bool:
        """Whether enough was measured."""
        self._note("train", self._clock() - self._left)
        for name, loop in self._others.items():
            began = self._clock()
            next(loop)
            self._note(name, self._clock() - began)
        self._asked += 1
        self._left = self._clock()
        return self._asked == self._steps + 2

    def _note(self, name: str, seconds: float) -> None:
        """What `train` did before it asked for the first time was no step, and the step after that was its first."""
        if self._asked >= 2:
            self._seconds[name] += seconds

    @property
    def seconds_a_step(self) -> dict[str, float]:
        """The mean of each over the steps that count."""
        return {name: seconds / self._steps for name, seconds in self._seconds.items()}


def plain_loop(images: Images, rival: Plain, *, device: str = "cpu") -> Iterator[None]:
    """Forward, backward, SGD: a step each time that it is asked for the next."""
    model = models.build(spec.CNN9(), FACTS, seed=0).to(device)
    if rival.channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    for x, y in Batches(images, size=BATCH, seed=0, device=torch.device(device)).training(0):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=rival.bf16):
            logits = model(x if rival.channels_last else x.contiguous())
        loss = cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def train(images: Images, precision: str, *, should_stop: Callable[[], bool], device: str = "cpu") -> None:
    """Our training of the same network on the same images, until asked to stop."""
    asked = spec.ClassificationSpec.model_validate(
        {
            "dataset": {"kind": "cifar100"},
            "model": {"kind": "cnn9"},
            "regularizer": {"kind": "none"},
            "optimizer": {"kind": "sgd", "lr": 0.01},
            "duration": {"steps": 10**6},
            "evaluate": {"every": 10**9},
            "record": {"every": RECORD_EVERY},
            "precision": precision,
        }
    )
    with mock.patch.object(trainer.reading, "load", return_value=images):
        trainer.train(asked, callbacks=Callbacks(should_stop=should_stop), device=device)


if __name__ == "__main__":
    main()
