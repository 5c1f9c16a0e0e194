"""Which images does a step see, and how are they moved? A function of seed and step, so that resuming needs no state.

Knows a data set as uint8 tensors on one device, where one indexing operation makes a batch, or as arrays from which
batches are read ahead (`streaming`): both give the same batches. Each of several processes takes its part of the same
batch. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Num, UInt8
from torch import Tensor
from torch.nn.functional import pad

from hsu_core.data import streaming
from hsu_core.data.images import Images
from hsu_core.ranks import ALONE, World

TEST_BATCH = 1000
"""Test images at once: more are no faster and need more memory."""

LARGEST_SHIFT = 8
"""A crop moves an image by up to this fraction of its side: 4 pixels of 32 (He et al. 2016, arXiv 1512.03385, 4.2)."""

Batch = tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]


class Batches:
    """The images of a data set on a device, batch by batch; in a parallel run, a rank's part of each batch."""

    def __init__(
        self,
        images: Images,
        *,
        size: int,
        seed: int,
        device: torch.device,
        augment: str = "none",
        padding: str = "black",
        per_epoch: int | None = None,
        world: World = ALONE,
        stream: bool | None = None,
    ) -> None:
        """`stream`: whether the images stay where they are; None: if they take more than half of the device."""
        self.is_streamed = streaming.is_too_large(images, device) if stream is None else stream
        self.train_y, self.test_y = (torch.from_numpy(y).to(device) for y in (images.train_y, images.test_y))
        self.train_x, self.test_x = (
            streaming.Streamed(x, device) if self.is_streamed else torch.from_numpy(x).to(device)
            for x in (images.train_x, images.test_x)
        )
        self.size = size
        self.seed = seed
        self.augment = augment
        self.padding = padding
        self.per_epoch = per_epoch or len(self.train_y) // size
        self.world = world

    def training(self, start: int) -> Iterator[Batch]:
        """The batches of steps start, start + 1, … without end. An epoch has only full batches, and no image twice."""
        for step, (chosen, pixels) in zip(
            count(start), streaming.each(self.train_x, self._chosen(start)), strict=False
        ):
            if self.augment == "crop_flip":
                pixels = moved(
                    pixels,
                    moves(self.size, *pixels.shape[2:], seed=self.seed, step=step).of(self.world.part(self.size)),
                    padding=self.padding,
                )
            yield normalised(pixels), self.train_y[chosen]

    def _chosen(self, start: int) -> Iterator[Int64[Tensor, " n"]]:
        """The numbers of the images of each step, of this rank's part; of streamed images in the host's memory."""
        part, place_of_order = self.world.part(self.size), "cpu" if self.is_streamed else self.train_y.device
        for step in count(start):
            epoch, place = divmod(step, self.per_epoch)
            if place == 0 or step == start:
                order = epoch_order(len(self.train_y), seed=self.seed, epoch=epoch).to(place_of_order)
            yield order[place * self.size : (place + 1) * self.size][part]

    def testing(self) -> Iterator[Batch]:
        """Every test image of the part once, in order."""
        part = self.world.part(len(self.test_y))
        for first in range(part.start, part.stop, TEST_BATCH):
            chosen = slice(first, min(first + TEST_BATCH, part.stop))
            yield normalised(self.test_x[chosen]), self.test_y[chosen]

    def whole(self, part: str) -> Iterator[Batch]:
        """Every image of a part, `train` or `test`, in order and as it is; on every rank all of them."""
        x, y = (self.train_x, self.train_y) if part == "train" else (self.test_x, self.test_y)
        for first in range(0, len(y), TEST_BATCH):
            yield normalised(x[first : first + TEST_BATCH]), y[first : first + TEST_BATCH]


def epoch_order(images: int, *, seed: int, epoch: int) -> Int64[Tensor, " images"]:
    """The order of the training images in an epoch: a permutation that depends on (seed, epoch) alone."""
    return torch.randperm(images, generator=_generator(np.random.SeedSequence((seed, epoch))))


class Moves(NamedTuple):
    """How each image of a batch is moved: mirrored left to right or not, then shifted down and right."""

    mirrored: Bool[Tensor, " n"]
    down: Int64[Tensor, " n"]
    right: Int64[Tensor, " n"]

    def of(self, part: slice) -> Moves:
        """The moves of some images of the batch."""
        return Moves(*(each[part] for each in self))


def moves(count: int, height: int, width: int, *, seed: int, step: int) -> Moves:
    """Moves that depend on (seed, step) alone; drawn on the CPU, so that they are the same for every device."""
    generator = _generator(np.random.SeedSequence((seed, step), spawn_key=(1,)))  # independent of the orders' stream
    mirrored = torch.rand(count, generator=generator) < 0.5
    down, right = (torch.randint(-far, far + 1, (count,), generator=generator) for far in _farthest(height, width))
    return Moves(mirrored, down, right)


def moved(pixels: UInt8[Tensor, "n c h w"], how: Moves, *, padding: str = "black") -> UInt8[Tensor, "n c h w"]:
    """The moved images on a black background, or with their mirror images beyond each edge (`symmetric`).

    The usual recipe pads with black (torchvision's RandomCrop(32, padding=4) before normalising), and black is the
    background of the digits and the clothes. The authors' programs pad with numpy's `symmetric`.
    """
    count, _, height, width = pixels.shape
    below, beside = _farthest(height, width)
    mirrored, down, right = (each.to(pixels.device)[:, None] for each in how)
    rows = torch.arange(height, device=pixels.device) - down
    columns = torch.arange(width, device=pixels.device) - right
    columns = torch.where(mirrored, width - 1 - columns, columns)
    image = torch.arange(count, device=pixels.device)[:, None, None]
    if padding == "symmetric":
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    else:
        pixels = pad(pixels, (beside, beside, below, below))
        rows, columns = rows + below, columns + beside
    return pixels.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(places: Int64[Tensor, "n side"], side: int) -> Int64[Tensor, "n side"]:
    """Places of a row, those beyond an edge mirrored at it: −1 is 0, and `side` is side − 1."""
    return torch.where(places < 0, -1 - places, torch.where(places >= side, 2 * side - 1 - places, places))


def _farthest(*sides: int) -> list[int]:
    return [side // LARGEST_SHIFT for side in sides]


def _generator(entropy: np.random.SeedSequence) -> torch.Generator:
    return torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0]))


def normalised(pixels: Num[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """(pixels − 127.5)/128, as the authors do, in the memory layout with the fastest convolutions.

    Of bytes, or of numbers from 0 to 255; differentiable.
    """
    if pixels.dtype is torch.uint8:
        return pixels.to(torch.float32, memory_format=torch.channels_last).sub_(127.5).div_(128)
    return pixels.sub(127.5).div(128).contiguous(memory_format=torch.channels_last)
