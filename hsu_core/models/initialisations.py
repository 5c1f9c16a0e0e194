"""How are the weights of a network's linear layers and convolutions drawn? Biases are 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hsu_core import spec


def draw(network: nn.Module, how: spec.Initialisation, *, seed: int) -> None:
    """Draw them anew, in the order of the modules, from a generator of this seed."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            DRAWS[how](module.weight, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _kaiming_normal(weight: Tensor, generator: torch.Generator) -> None:
    """N(0, 2/fan_in): He et al. 2015, arXiv 1502.01852."""
    nn.init.normal_(weight, std=math.sqrt(2 / weight[0].numel()), generator=generator)


def _kaiming_uniform(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator)


def _xavier_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Glorot and Bengio 2010."""
    nn.init.xavier_normal_(weight, generator=generator)


def _xavier_uniform(weight: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(weight, generator=generator)


def _orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    """Orthonormal neurons; with more neurons than dimensions, columns. Saxe et al. 2014, arXiv 1312.6120."""
    nn.init.orthogonal_(weight, generator=generator)


DRAWS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "kaiming_normal": _kaiming_normal,
    "kaiming_uniform": _kaiming_uniform,
    "xavier_normal": _xavier_normal,
    "xavier_uniform": _xavier_uniform,
    "orthogonal": _orthogonal,
}
