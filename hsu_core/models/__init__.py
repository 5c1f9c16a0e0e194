"""Which module is the network of a spec? Built from the spec's geometry, so that no size of it is written twice.

Module names inside a network are the layer names that users see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hsu_core import spec
from hsu_core.models.cnn9 import CNN9
from hsu_core.models.layers import normed, weighted
from hsu_core.models.mlp import MLP
from hsu_core.models.small_cnn import SmallCNN

__all__ = ["BUILDERS", "CNN9", "MLP", "SmallCNN", "build", "normed", "weighted"]

BUILDERS: dict[str, Callable[[spec.Facts, Any], nn.Module]] = {
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "cnn9": CNN9,
}


def build(model: spec.Model, facts: spec.Facts, *, seed: int) -> nn.Module:
    """The network for images of these facts, with weights ~ N(0, 2/fan_in) that depend on the seed alone.

    He et al. 2015, arXiv 1502.01852. Neither reads nor changes the global random generator.
    """
    with torch.random.fork_rng(devices=[]):  # torch's own constructors draw weights that are overwritten here
        network = BUILDERS[model.kind](facts, model)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
