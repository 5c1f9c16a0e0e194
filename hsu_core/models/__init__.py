"""Which module is the network of a spec? Built from the spec's geometry, so that no size of it is written twice.

Module names inside a network are the layer names that users see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hsu_core import spec
from hsu_core.models import (
    batch_norm,
    fixed_classifier,
    graphs,
    initialisations,
    orthogonal,
    recommenders,
    residual,
    texts,
)
from hsu_core.models.cnn9 import CNN9
from hsu_core.models.layers import normed, weighted
from hsu_core.models.mlp import MLP
from hsu_core.models.small_cnn import SmallCNN
from hsu_core.models.vgg import VGG16
from hsu_core.models.vision_transformer import ViTTiny
from hsu_core.spec import plugins

__all__ = ["BUILDERS", "CNN9", "MLP", "SmallCNN", "build", "normed", "prepared", "weighted"]

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


def prepared(training: spec.TrainingSpec, facts: Any) -> nn.Module:
    """The network of a training, with all that its spec says of weights and norms, before the first step.

    Networks of images have the memory layout in which they are trained: another one could round differently.
    """
    initialisation = training.initialisation if isinstance(training, spec.ClassificationSpec) else None
    network = build(training.model, facts, seed=training.seed, initialisation=initialisation)
    if isinstance(training, spec.ClassificationSpec) and training.batch_norm:
        batch_norm.configure(network, training.batch_norm)
    geometry = training.geometry
    if training.parametrization:
        orthogonal.bind(network, training.parametrization, geometry)
    if training.classifier:
        assert geometry.final is not None  # the spec refuses a network without one
        fixed_classifier.fix(network, training.classifier, geometry.final.name, seed=training.seed)
    if isinstance(training, spec.ClassificationSpec):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    return network


def build(model: spec.Model, facts: Any, *, seed: int, initialisation: spec.Initialisation | None = None) -> nn.Module:
    """The network for data of these facts, with initial weights that depend on the seed alone.

    Networks of convolutions and MLPs are drawn as `kaiming_normal`; the others draw theirs as their sources do, and
    those of plug-ins as their own code does. The global random generator is neither read nor changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _builder(model)(facts, model)
    if (
        initialisation is None
        and isinstance(model, spec.members(spec.ImageModel))
        and not isinstance(model, spec.ViTTiny | spec.PluginModel)
    ):
        initialisation = "kaiming_normal"
    if initialisation:
        initialisations.draw(network, initialisation, seed=seed)
    return network


def _builder(model: spec.Model) -> Callable[[Any, Any], nn.Module]:
    """What makes this network."""
    if not isinstance(model, spec.PluginModel):
        return BUILDERS[model.kind]
    own: Callable[[Any, Any], nn.Module] = plugins.built_by(model.builder)
    return own
