"""Which rank of one training is this process, and what do the ranks agree on?

Knows ranks, tensors and torch's process group. Knows no models, and does not start processes: `training/launch` does.
In a world of one, which needs no process group, every operation is the identity.
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
    """The processes that train one model together, as one of them sees them."""

    rank: int
    size: int

    @property
    def is_alone(self) -> bool:
        """Whether there is only one process."""
        return self.size == 1

    def part(self, count: int) -> slice:
        """Which of `count` items belong to this rank; the ranks' numbers of items differ by at most one."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def agree(self, flag: bool) -> bool:  # noqa: FBT001 - it is what is asked
        """The first rank's flag, on all ranks. On the CPU, so that it does not wait for a device."""
        if self.is_alone:
            return flag
        said = torch.tensor([flag])
        distributed.broadcast(said, src=0)
        return bool(said)

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first rank's values: where a device's rounding varies, kept state would otherwise drift apart."""
        if self.is_alone:
            return
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)

    def sum(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The sum over ranks, bit for bit the same on each; differentiable."""
        if self.is_alone:
            return x
        total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
        return total

    def mean(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The mean over ranks; differentiable."""
        return x if self.is_alone else self.sum(x) / self.size

    def gathered(self, rows: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
        """The rows of all ranks, which all have equally many; differentiable."""
        if self.is_alone:
            return rows
        everyone = rows.new_zeros(self.size, *rows.shape)
        everyone[self.rank] = rows
        return self.sum(everyone).flatten(end_dim=1)


ALONE = World(rank=0, size=1)
"""The world of a single process."""


class _Sum(torch.autograd.Function):
    """All-reduce forward and backward: each rank's input affects the objective of every rank.

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
