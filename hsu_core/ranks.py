"""Which part of one training is this process, and what do the parts agree on?

Knows ranks, tensors and torch's process group. Knows no models, and does not start processes: `parallel` does. In a
world of one, which needs no process group, all of it is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True)
class World:
    """The processes that train one model together, as one of them sees it."""

    rank: int
    size: int

    @property
    def is_alone(self) -> bool:
        """Whether there is no one to agree with."""
        return self.size == 1

    def part(self, count: int) -> slice:
        """Which of `count` things in a row are this rank's: as many as the others', or one more or less."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def agree(self, flag: bool) -> bool:  # noqa: FBT001 - it is what is asked
        """What the first rank says, for all. On the CPU, so that no device is waited for."""
        if self.is_alone:
            return flag
        said = torch.tensor([flag])
        distributed.broadcast(said, src=0)
        return bool(said)

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Make these what the first rank has: where a device rounds as it pleases, kept state would drift apart."""
        if self.is_alone:
            return
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)

    def sum(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The sum over ranks, the same to the bit on each; differentiable."""
        if self.is_alone:
            return x
        total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
        return total

    def mean(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The mean over ranks; differentiable."""
        return x if self.is_alone else self.sum(x) / self.size

    def gathered(self, rows: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The rows of all ranks, each of which has equally many; differentiable."""
        if self.is_alone:
            return rows
        everyone = rows.new_zeros(self.size, *rows.shape)
        everyone[self.rank] = rows
        return self.sum(everyone).flatten(end_dim=1)


ALONE = World(rank=0, size=1)
"""One process, as without any of this."""


class _Sum(torch.autograd.Function):
    """All-reduce there, and all-reduce back: each rank's input moves the objective of every rank.

    So the gradient is that of the sum of the objectives, which DistributedDataParallel divides by their number.
    """

    @staticmethod
    def forward(_ctx: FunctionCtx, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total
