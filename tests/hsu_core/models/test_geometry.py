"""What a spec says of its network is what the module is and what torch counts, without a single weight in memory."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from hsu_core import costs, models, spec
from hsu_core.regularizers import layers
from hsu_core.spec.geometry import Geometry, Layer, conv3x3

BATCH = 3
CHOICES: list[spec.ImageModel] = [
    *(member() for member in spec.members(spec.ImageModel)),
    spec.MLP(hidden=()),
    spec.MLP(hidden=(7, 5, 3)),
    spec.SmallCNN(width=5),
]
DATASETS: list[spec.ImageDataset] = [
    member() for member in spec.members(spec.ImageDataset) if member is not spec.OwnImages
]
NETWORKS = [
    pytest.param(model, dataset, id=f"{model.kind}{number} {dataset.kind}")
    for number, model in enumerate(CHOICES)
    for dataset in DATASETS
    if model.misfit(dataset.facts.shape) is None
]
every_network = pytest.mark.parametrize(("model", "dataset"), NETWORKS)


def on_meta(model: spec.ImageModel, dataset: spec.ImageDataset) -> nn.Module:
    with torch.device("meta"):
        return models.BUILDERS[model.kind](dataset.facts, model)


def counted(network: nn.Module, facts: spec.ImageFacts) -> int:
    """Floating-point operations of one step."""
    images = torch.empty(BATCH, *facts.shape, device="meta")
    labels = torch.empty(BATCH, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        cross_entropy(network(images), labels).backward()
    return counter.get_total_flops()


@every_network
def test_layers_have_the_names_the_order_and_the_shapes_of_the_network(
    model: spec.ImageModel, dataset: spec.ImageDataset
) -> None:
    real = [(layer.name, *layer.shape, layer.is_final) for layer in layers.layers(on_meta(model, dataset))]
    stated = model.geometry(dataset.facts).layers
    assert [(layer.name, layer.out, layer.dimension, layer.is_final) for layer in stated] == real


@every_network
def test_every_layer_is_evaluated_at_so_many_places(model: spec.ImageModel, dataset: spec.ImageDataset) -> None:
    network, facts = on_meta(model, dataset), dataset.facts
    seen: dict[str, int] = {}
    for layer in model.geometry(facts).layers:
        network.get_submodule(layer.name).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: seen.update(
                {layer.name: output.numel() // (BATCH * layer.out)}
            )
        )
    network(torch.empty(BATCH, *facts.shape, device="meta"))
    assert seen == {layer.name: layer.positions for layer in model.geometry(facts).layers}


@every_network
def test_parameters_are_those_of_the_network(model: spec.ImageModel, dataset: spec.ImageDataset) -> None:
    real = sum(parameter.numel() for parameter in on_meta(model, dataset).parameters())
    assert model.geometry(dataset.facts).parameters == real


@every_network
def test_operations_of_a_step_are_those_that_torch_counts(model: spec.ImageModel, dataset: spec.ImageDataset) -> None:
    real = counted(on_meta(model, dataset), dataset.facts)
    assert BATCH * model.geometry(dataset.facts).flops == real


class Attentive(spec.Spec):
    """A residual convolution, then attention over the places of the image: no chain of layers."""

    kind: Literal["attentive"] = "attentive"
    width: int = 6

    def geometry(self, facts: spec.ImageFacts) -> Geometry:
        (channels, *sides), width = facts.shape, self.width
        places = math.prod(sides)
        size = (sides[0], sides[1])
        return Geometry(
            (
                conv3x3("stem", width, inputs=channels, sides=size, then=("norm", "relu")),
                conv3x3("branch", width, inputs=width, sides=size, then=("norm",)),
                Layer("qkv", "linear", 3 * width, width, positions=places),
                Layer("classifier", "linear", facts.classes, width, is_final=True),
            ),
            other_parameters=places * width,
            other_flops=2 * 2 * places**2 * width,
        )


class AttentiveNetwork(nn.Module):
    def __init__(self, facts: spec.ImageFacts, model: Attentive) -> None:
        super().__init__()
        stem, branch, qkv, classifier = model.geometry(facts).layers
        self.stem, self.stem_norm = models.weighted(stem), models.normed(stem)
        self.branch, self.branch_norm = models.weighted(branch), models.normed(branch)
        self.places = nn.Parameter(torch.zeros(qkv.positions, branch.out))
        self.qkv = models.weighted(qkv)
        self.classifier = models.weighted(classifier)

    def forward(self, images: Tensor) -> Any:
        x = self.stem_norm(self.stem(images)).relu()
        x = x + self.branch_norm(self.branch(x))
        q, k, v = self.qkv(x.flatten(2).mT + self.places).chunk(3, dim=-1)
        attended = torch.softmax(q @ k.mT, dim=-1) @ v
        return self.classifier(attended.mean(dim=1))


def test_a_network_that_is_no_chain_is_counted_just_as_well() -> None:
    model, facts = Attentive(), spec.Digits.facts
    with torch.device("meta"):
        network = AttentiveNetwork(facts, model)
    geometry = model.geometry(facts)
    assert geometry.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert BATCH * geometry.flops == counted(network, facts)
    asked = spec.ClassificationSpec.model_construct(
        **{name: field.default for name, field in spec.ClassificationSpec.model_fields.items()}
        | {"dataset": spec.Digits(), "model": model, "regularizer": spec.MHE(), "duration": spec.Duration(steps=1)},
    )
    found = costs.estimate(asked)
    assert found.parameters == geometry.parameters
    assert found.penalty_flops > 0
