"""Which weights of a model are points on a sphere?

Knows modules, layer names and patterns. Knows no penalties and no training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional layer of a model, seen as n neurons in d dimensions."""

    name: str
    weight: Tensor
    is_final: bool
    """Whether this is the classifier: the last layer in module order."""

    @property
    def shape(self) -> tuple[int, int]:
        """Neurons and dimensions."""
        return len(self.weight), self.weight[0].numel()

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


def chosen(found: Sequence[Layer], patterns: Iterable[str], *, field: str) -> list[Layer]:
    """The layers that match any of the patterns. ValueError, naming the spec's field, for one that matches none."""
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(layer.name, pattern) for layer in found):
            names = ", ".join(layer.name for layer in found)
            raise ValueError(f"{field}: {pattern!r} matches no layer; there are {names}")
    return [layer for layer in found if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]
