"""Which weights of a model are points on a sphere, and what is their weighted penalty?

Knows modules, layers and specs. Knows no training loop. A penalty is always lower-is-better, in at least float32 and
outside autocast: half-precision Gram matrices make the gradients wrong by percents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import energies, spec


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional layer of a model, seen as n neurons in d dimensions."""

    name: str
    weight: Tensor
    is_final: bool
    """Whether this is the classifier: the last layer in module order."""

    def points(self) -> Float[Tensor, "n d"]:
        """One row a neuron (output channel), kernels flattened; in float32 or wider."""
        return self.weight.flatten(start_dim=1).to(torch.promote_types(self.weight.dtype, torch.float32))


def layers(model: nn.Module) -> list[Layer]:
    """Every linear and convolutional layer of the model, in module order. ValueError if there is none."""
    found = [
        (name, module.weight)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
    ]
    if not found:
        raise ValueError(f"{type(model).__name__} has no linear and no convolutional layer")
    last = found[-1][0]
    return [Layer(name, weight, is_final=name == last) for name, weight in found]


def build(regularizer: spec.Regularizer, model: nn.Module) -> Penalty:
    """The penalty of this spec on this model's weights; calling it returns a scalar, 0 for `none`.

    ValueError if a regularized layer cannot be spread: a single neuron (but for half space), or a single dimension.
    """
    return Penalty(regularizer, layers(model))


class Penalty(nn.Module):
    """Σ over hidden layers of hidden_weight · energy, plus final_weight · energy of the classifier.

    Half space acts on hidden layers only. The module holds no parameters of its own: the weights stay the model's.
    """

    def __init__(self, regularizer: spec.Regularizer, of: list[Layer]) -> None:
        super().__init__()
        self.terms = [term for layer in of if (term := _term(regularizer, layer))]
        self.of = tuple(of)  # the layers, not their weights: those would register as this module's

    def forward(self) -> Float[Tensor, ""]:
        """The whole penalty."""
        values = self.by_layer().values()
        return torch.stack(list(values)).sum() if values else torch.zeros((), device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.of[0].weight.device

    def by_layer(self) -> dict[str, Tensor]:
        """The weighted term of each regularized layer."""
        with torch.autocast(self.device.type, enabled=False):
            return {term.layer.name: term.value() for term in self.terms}


@dataclass(frozen=True)
class Term:
    """What one layer adds to the penalty."""

    layer: Layer
    weight: float
    energy: Callable[[Tensor], Tensor]

    def value(self) -> Float[Tensor, ""]:
        """The weighted energy of the layer as it is now."""
        return self.weight * self.energy(self.layer.points())


def _mhe(w: Tensor, *, chosen: spec.MHE, half_space: bool) -> Tensor:
    return energies.riesz(w, chosen.s, angular=chosen.angular, half_space=half_space)


def _mhs(w: Tensor, *, chosen: spec.MHS, half_space: bool) -> Tensor:  # noqa: ARG001 - it has no parameters
    return -energies.separation(w, half_space=half_space)


ENERGIES: dict[str, Callable[..., Tensor]] = {"mhe": _mhe, "mhs": _mhs}
"""By the kind of the spec, each made so that lower is better."""


def _term(regularizer: spec.Regularizer, layer: Layer) -> Term | None:
    """What this layer adds, or nothing if it is not regularized."""
    if isinstance(regularizer, spec.NoRegularizer):
        return None
    weight = regularizer.final_weight if layer.is_final else regularizer.hidden_weight
    if weight == 0:
        return None
    half_space = regularizer.half_space and not layer.is_final
    n, d = layer.points().shape
    if d == 1 or (n == 1 and not half_space):
        raise ValueError(
            f"{regularizer.kind} needs at least 2 neurons in 2 dimensions, but layer {layer.name} has {n} in {d}"
        )
    return Term(layer, weight, partial(ENERGIES[regularizer.kind], chosen=regularizer, half_space=half_space))
