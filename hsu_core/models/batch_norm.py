"""How are a network's batch norms set as a spec says?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from hsu_core import spec


def configure(network: nn.Module, how: spec.BatchNorm) -> None:
    """Set every batch norm of a new network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = how.momentum
            module.eps = module.eps if how.eps is None else how.eps
            if how.debiased:
                debias(module)
                module.running_var = torch.zeros(module.num_features)


def debias(module: nn.modules.batchnorm._BatchNorm) -> None:
    """Let a batch norm of any class correct its running averages from now on."""
    kind = type(module)
    module.__class__ = type(f"Debiased{kind.__name__}", (Debiased, kind), {})


class Debiased(nn.modules.batchnorm._BatchNorm):
    """Running averages that start at 0; in evaluations they are divided by 1 − (1 − momentum)ᵗ after t batches.

    It comes before the class of a batch norm, whose buffers it reads. In training that class does everything; as in
    torch, the running variance is that of a sample, with n − 1.
    """

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalised by the batch in training, by the debiased averages in evaluation."""
        if self.training:
            normalised: Tensor = super().forward(x)
            return normalised
        mean, variance, batches = self.running_mean, self.running_var, self.num_batches_tracked
        assert self.momentum is not None
        assert mean is not None
        assert variance is not None
        assert batches is not None
        share = (1 - (1 - self.momentum) ** batches.double()).float()
        is_new = share == 0  # before the first batch the averages are those of torch
        return batch_norm(
            x,
            mean / torch.where(is_new, 1, share),
            torch.where(is_new, 1, variance / share),
            self.weight,
            self.bias,
            eps=self.eps,
        )
