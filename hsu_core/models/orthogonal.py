"""How are the weights of a layer multiplied by orthogonal matrices, instead of being trained one by one?"""

from __future__ import annotations

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hsu_core import spec


def bind(network: nn.Module, how: spec.Parametrization, geometry: spec.Geometry) -> None:
    """Fix the weights of the layers that the spec names, and put orthogonal matrices on each."""
    for layer in how.bound(geometry):
        module = network.get_submodule(layer.name)
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        weight.requires_grad_(False)  # noqa: FBT003
        parametrize.register_parametrization(module, "weight", _made(how, layer, weight))


def _made(how: spec.Parametrization, layer: spec.Layer, weight: Tensor) -> nn.Module:
    match how:
        case spec.OFT():
            return Rotation(layer.dimension, how)
        case spec.POET():
            _give_one_length(weight)
            return Equivalence(layer, how)
        case _:
            assert_never(how)


def _give_one_length(weight: Tensor) -> None:
    """Give each neuron the root mean square of their lengths, so that the size of the weights stays."""
    with torch.no_grad():
        neurons = weight.flatten(1)
        length = neurons.square().sum(dim=1).mean().sqrt()
        weight.copy_((length * nn.functional.normalize(neurons, dim=1)).view(weight.shape))


class Rotation(nn.Module):
    """W ↦ W·Rᵀ with R of orthogonal blocks; at first the identity."""

    def __init__(self, d: int, how: spec.Orthogonal) -> None:
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


class Equivalence(nn.Module):
    """W ↦ R·W·P with R and P of orthogonal blocks; at first both are the identity. Qiu et al. 2025."""

    def __init__(self, layer: spec.Layer, how: spec.POET) -> None:
        super().__init__()
        d, *out = how.sides(layer)
        self.right = Rotation(d, how)
        self.left = Rotation(out[0], how) if out else None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its neurons rotated, and mixed by a rotation."""
        neurons: Tensor = self.right(weight.flatten(1))
        if self.left is not None:
            neurons = self.left(neurons.T).T
        return neurons.reshape(weight.shape)


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
