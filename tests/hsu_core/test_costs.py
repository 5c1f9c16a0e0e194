"""What a training is said to cost, against what torch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from hsu_core import costs, layers, models, spec
from hsu_core.train import train

BATCH = 4
NETWORKS: list[tuple[spec.Model, spec.Dataset]] = [
    (spec.MLP(), spec.Digits()),
    (spec.MLP(hidden=()), spec.MNIST()),
    (spec.MLP(hidden=(7, 5, 3)), spec.CIFAR100()),
    (spec.SmallCNN(), spec.Digits()),
    (spec.SmallCNN(width=5), spec.FashionMNIST()),
    (spec.CNN9(), spec.CIFAR10()),
    (spec.CNN9(), spec.CIFAR100()),
]
every_network = pytest.mark.parametrize(("model", "dataset"), NETWORKS, ids=lambda part: part.kind)


def training(model: spec.Model, dataset: spec.Dataset, **fields: Any) -> spec.TrainingSpec:
    chosen: dict[str, Any] = {"regularizer": spec.MHE(), "duration": spec.Duration(steps=10), "batch_size": BATCH}
    return spec.TrainingSpec(model=model, dataset=dataset, **(chosen | fields))


def batch(dataset: spec.Dataset) -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, *dataset.facts.shape), torch.arange(BATCH) % dataset.facts.classes


@every_network
def test_layers_have_the_names_and_shapes_of_the_network(model: spec.Model, dataset: spec.Dataset) -> None:
    network = models.build(model, dataset.facts, seed=0)
    real = [(layer.name, *layer.points().shape) for layer in layers.layers(network)]
    assert [layer[:3] for layer in costs.layers(model, dataset.facts)] == real


@every_network
def test_parameters_are_those_of_the_network(model: spec.Model, dataset: spec.Dataset) -> None:
    network = models.build(model, dataset.facts, seed=0)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert costs.of(training(model, dataset)).parameters == counted


@every_network
def test_operations_of_a_step_are_those_that_torch_counts(model: spec.Model, dataset: spec.Dataset) -> None:
    network, (x, y) = models.build(model, dataset.facts, seed=0), batch(dataset)
    with FlopCounterMode(display=False) as counter:
        cross_entropy(network(x), y).backward()
    assert costs.of(training(model, dataset)).flops == counter.get_total_flops()


@every_network
def test_activations_are_what_autograd_keeps(model: spec.Model, dataset: spec.Dataset) -> None:
    network, (x, y) = models.build(model, dataset.facts, seed=0), batch(dataset)
    own = {parameter.untyped_storage().data_ptr() for parameter in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = cross_entropy(network(x), y)
    real = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    assert costs.of(training(model, dataset)).memory.activations == pytest.approx(real, rel=0.02, abs=2048)
    assert loss.requires_grad


@pytest.mark.parametrize(
    ("optimizer", "numbers"), [(spec.SGD(), 1), (spec.SGD(momentum=0), 0), (spec.AdamW(), 2)], ids=["sgd", "0", "adamw"]
)
def test_the_optimizer_keeps_so_many_numbers_a_weight(optimizer: spec.Optimizer, numbers: int) -> None:
    memory = costs.of(training(spec.MLP(), spec.Digits(), optimizer=optimizer)).memory
    assert (memory.gradients, memory.optimizer) == (memory.weights, numbers * memory.weights)
    assert memory.total == sum(memory)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"record": spec.Record(every=3)},
        {"record": spec.Record(every=4, layers=("hidden*",), measures=("mhe_s2", "covering"))},
        {"evaluate": spec.Evaluate(every=3), "regularizer": spec.NoRegularizer()},
        {"regularizer": spec.MHP(final_weight=0), "record": spec.Record(every=20)},
        {"duration": spec.Duration(epochs=1), "batch_size": 400},
    ],
    ids=["defaults", "often", "some", "evaluated", "poles", "epochs"],
)
def test_a_run_reports_just_so_many_values(fields: dict[str, Any]) -> None:
    asked = training(spec.MLP(hidden=(8, 6)), spec.Digits(), **fields)
    reported = 0

    def report(_step: int, values: Any) -> None:
        nonlocal reported
        reported += len(values)

    train(asked, report=report)
    assert costs.of(asked).values == reported


def test_the_penalty_is_of_those_layers_that_it_acts_on() -> None:
    def flops(**fields: Any) -> int:
        return costs.of(training(spec.MLP(hidden=(8,)), spec.Digits(), regularizer=spec.MHE(**fields))).penalty_flops

    hidden, final = 4 * 8**2 * 64, 4 * 10**2 * 8
    assert flops() == hidden + final
    assert flops(every=2) == (hidden + final) // 2
    assert flops(layers=("hidden*",)) == flops(final_weight=0) == flops(layer_weights={"classifier": 0}) == hidden


@pytest.mark.parametrize("chosen", [spec.Uniformity(), spec.KoLeo()], ids=lambda chosen: chosen.kind)
def test_a_penalty_on_features_is_of_the_batch(chosen: spec.Regularizer) -> None:
    asked = training(spec.MLP(hidden=(8,)), spec.Digits(), regularizer=chosen)
    assert costs.of(asked).penalty_flops == 4 * BATCH**2 * 8


def test_without_a_penalty_it_has_no_share() -> None:
    assert costs.of(training(spec.CNN9(), spec.CIFAR100(), regularizer=spec.NoRegularizer())).penalty_share == 0
    share = costs.of(training(spec.CNN9(), spec.CIFAR100(), batch_size=128)).penalty_share
    assert 0.001 < share < 0.02
