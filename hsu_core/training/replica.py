"""How does one model train on a batch of which each process has a part?

Knows models and the world. The gradient of a replica is the mean over ranks, and its batch norms see the whole batch:
with equal parts it trains as a single model would. Knows no penalties: every rank adds the same one, so the mean is the
penalty itself.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hsu_core.models import batch_norm
from hsu_core.ranks import World


def wrap(model: nn.Module, world: World) -> nn.Module:
    """The module to train; the model itself in a world of one.

    The model is still the one to measure and to save: it shares the replica's parameters and buffers, under its names.
    """
    if world.is_alone:
        return model
    debiased = [name for name, module in model.named_modules() if isinstance(module, batch_norm.Debiased)]
    if next(model.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    else:
        _share_norms(model, world)
    for name in debiased:
        batch_norm.debias(model.get_submodule(name))  # type: ignore[arg-type]  # a batch norm of another class now
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_contiguous():
            hook = partial(_strided, strides=parameter.stride())
            parameter.register_hook(hook)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(model)


def _strided(gradient: Tensor, *, strides: tuple[int, ...]) -> Tensor:
    """A view with these strides: a dimension of 1 may have any, but DistributedDataParallel warns if they differ."""
    return gradient.as_strided(gradient.shape, strides) if gradient.is_contiguous() else gradient


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the parts of all ranks, on a CPU, where torch's SyncBatchNorm does not run."""

    def __init__(self, of_part: nn.BatchNorm2d, world: World) -> None:
        super().__init__(of_part.num_features, eps=of_part.eps, momentum=of_part.momentum)
        self.load_state_dict(of_part.state_dict(), assign=True)
        self.weight, self.bias = of_part.weight, of_part.bias
        self.world = world

    def forward(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c h w"]:
        """Normalise by the moments of the whole batch in training, by the running moments otherwise."""
        if not self.training:
            running: Tensor = super().forward(x)
            return running
        mean = self._over_all(x.float())
        centred = x.float() - mean
        variance = self._over_all(centred.square())
        self._follow(mean, variance, count=self.world.size * x.numel() // self.num_features)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (centred * scale + self.bias[:, None, None]).to(x.dtype)

    def _over_all(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "c 1 1"]:
        return self.world.mean(x.mean(dim=(0, 2, 3)))[:, None, None]

    @torch.no_grad()
    def _follow(self, mean: Float[Tensor, "c 1 1"], variance: Float[Tensor, "c 1 1"], *, count: int) -> None:
        """Update the running moments, with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.flatten(), self.momentum)
        self.running_var.lerp_(variance.flatten() * (count / (count - 1)), self.momentum)
        self.num_batches_tracked.add_(1)


def _share_norms(model: nn.Module, world: World) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, SharedBatchNorm(module, world))
