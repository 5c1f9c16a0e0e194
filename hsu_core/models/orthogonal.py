"""How are the neurons of a layer rotated together, instead of being trained one by one?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hsu_core import spec


def bind(network: nn.Module, how: spec.OFT, geometry: spec.Geometry) -> None:
    """Fix the weights of the layers that the spec names, and put a rotation on each."""
    for layer in how.bound(geometry):
        module = network.get_submodule(layer.name)
        module.weight.requires_grad_(False)  # noqa: FBT003
        parametrize.register_parametrization(module, "weight", Rotation(layer.dimension, how))


class Rotation(nn.Module):
    """W ↦ W·Rᵀ with R of orthogonal blocks; at first the identity."""

    def __init__(self, d: int, how: spec.OFT) -> None:
        super().__init__()
        count, rest = how.blocks(d)
        self.size, self.left_over = min(how.block, d), rest
        self.whole = nn.Parameter(torch.zeros(count, self.size * (self.size - 1) // 2))
        self.rest = nn.Parameter(torch.zeros(1, rest * (rest - 1) // 2)) if rest else None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with each neuron rotated; autocast does not reach in here."""
        with torch.autocast(weight.device.type, enabled=False):
            neurons = weight.flatten(1)
            turned = neurons.shape[1] - (self.left_over or neurons.shape[1] % self.size)
            parts = [_turned(neurons[:, :turned], cayley(self.whole, self.size))]
            if self.rest is not None:
                parts.append(_turned(neurons[:, turned:], cayley(self.rest, self.left_over)))
            elif turned < neurons.shape[1]:
                parts.append(neurons[:, turned:])
            rotated: Tensor = torch.cat(parts, dim=1).view(weight.shape)
        return rotated


def cayley(entries: Float[Tensor, "k entries"], size: int) -> Float[Tensor, "k size size"]:
    """(I − Q)⁻¹(I + Q), orthogonal, of the skew-symmetric Q with these entries above its diagonal."""
    q = entries.new_zeros(len(entries), size, size)
    row, column = torch.triu_indices(size, size, offset=1, device=entries.device)
    q = q.index_put((torch.arange(len(entries), device=entries.device)[:, None], row, column), entries)
    q = q - q.mT
    identity = torch.eye(size, dtype=q.dtype, device=q.device)
    orthogonal: Tensor = torch.linalg.solve(identity - q, identity + q)
    return orthogonal


def _turned(neurons: Float[Tensor, "n d"], blocks: Float[Tensor, "k b b"]) -> Float[Tensor, "n d"]:
    parts = neurons.view(len(neurons), len(blocks), -1)
    return torch.einsum("nkj,kij->nki", parts, blocks).flatten(1)
