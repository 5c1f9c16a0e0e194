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
from hsu_core.models import graphs, recommenders, residual, texts
from hsu_core.models.cnn9 import CNN9
from hsu_core.models.layers import normed, weighted
from hsu_core.models.mlp import MLP
from hsu_core.models.small_cnn import SmallCNN
from hsu_core.models.vgg import VGG16
from hsu_core.models.vision_transformer import ViTTiny

__all__ = ["BUILDERS", "CNN9", "MLP", "SmallCNN", "build", "normed", "weighted"]

BUILDERS: dict[str, Callable[[Any, Any], nn.Module]] = {
    "mlp": MLP,
    "small_cnn": SmallCNN,
    "cnn9": CNN9,
    "resnet_cifar": residual.resnet_cifar,
    "resnet18": residual.resnet18,
    "wide_resnet": residual.WideResNet,
    "vgg16_bn": VGG16,
    "vit_tiny": ViTTiny,
    "gcn": graphs.GCN,
    "gat": graphs.GAT,
    "bag_of_ngrams": texts.BagOfNgrams,
    "text_transformer": texts.TextTransformer,
    "matrix_factorization": recommenders.MatrixFactorization,
    "light_gcn": recommenders.LightGCN,
}


def build(model: spec.Model, facts: Any, *, seed: int) -> nn.Module:
    """The network for data of these facts, with initial weights that depend on the seed alone.

    Networks of convolutions and MLPs have weights ~ N(0, 2/fan_in) and biases of 0 (He et al. 2015, arXiv 1502.01852);
    the others draw theirs as their sources do. Neither reads nor changes the global random generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = BUILDERS[model.kind](facts, model)
    if isinstance(model, spec.members(spec.ImageModel)) and not isinstance(model, spec.ViTTiny):
        _draw(network, seed)
    return network


def _draw(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
