"""Is the training loop as fast as the best plain loop that one can write?

    python benchmarks/training.py [--steps N] [--rounds N] [--threads N]

cnn9 on random images of CIFAR-100's shape, batch 128, no regularizer. The plain loop is written out below: forward,
backward, SGD, nothing recorded. `train` records the whole panel every 50 steps. Both run the same number of steps in
turn; wall seconds a step, medians. What `train` does once (the first evaluation, building the model) is left out by
taking the difference between two lengths of a run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest import mock

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from hsu_core import models, spec
from hsu_core import train as trainer
from hsu_core.batches import Batches
from hsu_core.data.images import Images

FACTS = spec.CIFAR100.facts
BATCH = 128


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    images = _images()
    runs = {
        "plain loop, fp32, contiguous": lambda: _plain(images, asked.steps, bf16=False, channels_last=False),
        "plain loop, fp32, channels last": lambda: _plain(images, asked.steps, bf16=False, channels_last=True),
        "plain loop, bf16, channels last": lambda: _plain(images, asked.steps, bf16=True, channels_last=True),
        "train, fp32, recording": lambda: _ours(images, asked.steps, precision="fp32"),
        "train, bf16, recording": lambda: _ours(images, asked.steps, precision="bf16"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(asked.rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    base = median["plain loop, fp32, contiguous"]
    print(f"{asked.threads} threads, {asked.steps} steps, torch {torch.__version__}\n")
    print("| loop | ms a step | speed, of the plain fp32 loop |\n|---|---|---|")
    for name, taken in median.items():
        print(f"| {name} | {1000 * taken:.0f} | {base / taken:.2f} |")


def _images() -> Images:
    generator = np.random.default_rng(0)
    count = 60 * BATCH
    x = generator.integers(0, 256, (count, *FACTS.shape), dtype=np.uint8)
    y = generator.integers(0, FACTS.classes, count)
    return Images(x, y, x[:BATCH], y[:BATCH])


def _plain(images: Images, steps: int, *, bf16: bool, channels_last: bool) -> float:
    """Seconds a step of the loop that one would write by hand."""
    model = models.build(spec.CNN9(), FACTS, seed=0)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)
    batches = Batches(images, size=BATCH, seed=0, device=torch.device("cpu")).training(0)
    began = time.perf_counter()
    for _, (x, y) in zip(range(steps), batches, strict=False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = model(x if channels_last else x.contiguous())
        loss = cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / steps


def _ours(images: Images, steps: int, *, precision: str) -> float:
    """Seconds a step of `train`, recording every 50 steps: a long run less a short one."""
    return (_seconds(images, steps + 2, precision) - _seconds(images, 2, precision)) / steps


def _seconds(images: Images, steps: int, precision: str) -> float:
    asked = spec.TrainingSpec.model_validate(
        {
            "dataset": {"kind": "cifar100"},
            "model": {"kind": "cnn9"},
            "regularizer": {"kind": "none"},
            "optimizer": {"kind": "sgd", "lr": 0.01},
            "duration": {"steps": steps},
            "evaluate": {"every": 10**9},
            "precision": precision,
        }
    )
    with mock.patch.object(trainer.reading, "load", return_value=images):
        began = time.perf_counter()
        trainer.train(asked)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
