"""The module is the network that its spec tells the costs of."""

from __future__ import annotations

import torch

from hsu_core.spec.facts import ImageFacts
from hsu_example.network import Network
from hsu_example.specs import HsuExampleNet

FACTS = ImageFacts((3, 32, 32), classes=10, train=100, test=10)
SPEC = HsuExampleNet(width=8)
NETWORK = Network(FACTS, SPEC)


def test_its_layers_have_the_names_and_sizes_of_the_geometry() -> None:
    sizes = {layer.name: (layer.out, layer.dimension) for layer in SPEC.geometry(FACTS).layers}
    weights = {name: getattr(NETWORK, name).weight.flatten(start_dim=1).shape for name in sizes}
    assert sizes == {name: tuple(shape) for name, shape in weights.items()}


def test_its_parameters_are_those_of_the_geometry() -> None:
    assert sum(each.numel() for each in NETWORK.parameters()) == SPEC.geometry(FACTS).parameters


def test_it_gives_a_logit_for_each_class() -> None:
    assert NETWORK(torch.randn(5, *FACTS.shape)).shape == (5, FACTS.classes)
