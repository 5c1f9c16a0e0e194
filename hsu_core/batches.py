"""Which images does a step see? A function of the seed and the step, so that resuming needs no state.

Knows a data set as uint8 tensors on one device, where a batch is one indexing. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from hsu_core.data.images import Images

TEST_BATCH = 1000
"""Test images at once: more gain nothing and cost memory."""

Batch = tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]


class Batches:
    """The images of a data set on a device, batch by batch."""

    def __init__(self, images: Images, *, size: int, seed: int, device: torch.device) -> None:
        self.train_x, self.train_y, self.test_x, self.test_y = (torch.from_numpy(array).to(device) for array in images)
        self.size = size
        self.seed = seed

    def training(self, start: int) -> Iterator[Batch]:
        """The batches of steps start, start + 1, … without end. An epoch has whole batches only, each image once."""
        per_epoch = len(self.train_y) // self.size
        for step in count(start):
            epoch, place = divmod(step, per_epoch)
            if place == 0 or step == start:
                order = epoch_order(len(self.train_y), seed=self.seed, epoch=epoch).to(self.train_y.device)
            chosen = order[place * self.size : (place + 1) * self.size]
            yield normalised(self.train_x[chosen]), self.train_y[chosen]

    def testing(self) -> Iterator[Batch]:
        """Every test image once, in order."""
        for first in range(0, len(self.test_y), TEST_BATCH):
            chosen = slice(first, first + TEST_BATCH)
            yield normalised(self.test_x[chosen]), self.test_y[chosen]


def epoch_order(images: int, *, seed: int, epoch: int) -> Int64[Tensor, " images"]:
    """The order of the training images in an epoch: a permutation that depends on (seed, epoch) alone."""
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    return torch.randperm(images, generator=torch.Generator().manual_seed(int(mixed[0])))


def normalised(pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """(pixels − 127.5)/128, as the authors do, in the memory layout that convolutions are fastest in."""
    return pixels.to(torch.float32, memory_format=torch.channels_last).sub_(127.5).div_(128)
