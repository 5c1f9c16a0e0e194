"""Which parameters decay, how strongly, and what is their L2 term?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hsu_core import models, spec
from hsu_core.training import optimizers


def decays(chosen: spec.Optimizer, network: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    made = optimizers.build(chosen, network)
    return {names[id(each)]: group["weight_decay"] for group in made.param_groups for each in group["params"]}


@pytest.mark.parametrize("kind", [spec.SGD, spec.AdamW, spec.Adam])
def test_norms_and_biases_may_decay_apart(kind: type[spec.SGD]) -> None:
    network = models.build(spec.VGG16(), spec.CIFAR10.facts, seed=0)
    found = decays(kind(weight_decay=0.1, norm_decay=0.0, bias_decay=0.02), network)
    assert set(found) == {name for name, _ in network.named_parameters()}
    assert found["conv1_1.weight"] == found["classifier.weight"] == 0.1
    assert found["norm1_1.weight"] == found["norm1_1.bias"] == 0.0
    assert found["conv1_1.bias"] == found["classifier.bias"] == 0.02


def test_norms_of_layers_count_and_a_token_is_a_weight() -> None:
    found = decays(
        spec.AdamW(weight_decay=0.1, norm_decay=0.0), models.build(spec.ViTTiny(), spec.CIFAR10.facts, seed=0)
    )
    assert found["norm.weight"] == 0.0
    assert found["own_token"] == found["positions"] == found["classifier.bias"] == 0.1


def test_without_them_there_is_one_group_in_the_order_of_the_model() -> None:
    network = models.build(spec.SmallCNN(), spec.Digits.facts, seed=0)
    (group,) = optimizers.build(spec.SGD(dampening=0.5), network).param_groups
    assert all(kept is own for kept, own in zip(group["params"], network.parameters(), strict=True))
    assert (group["weight_decay"], group["dampening"]) == (5e-4, 0.5)


def test_the_l2_term_has_the_decay_as_its_gradient() -> None:
    network = models.build(spec.SmallCNN(), spec.Digits.facts, seed=0)
    made = optimizers.build(spec.SGD(weight_decay=0.1, norm_decay=0.3), network)
    by_hand = sum(
        (0.15 if name.startswith("norm") else 0.05) * each.square().sum().item()
        for name, each in network.named_parameters()
    )
    assert optimizers.l2_term(made).item() == pytest.approx(by_hand, rel=1e-5)
    assert not optimizers.l2_term(made).requires_grad


def test_dampening_weighs_each_gradient() -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(weight.weight)
    made = optimizers.build(spec.SGD(lr=1.0, momentum=0.5, dampening=0.25, weight_decay=0), weight)
    for _ in range(2):
        weight.weight.grad = torch.ones(1, 1)
        made.step()
    # The first buffer is the gradient itself; the second is ½·1 + ¾·1.
    assert weight.weight.item() == pytest.approx(-(1 + 1.25))
