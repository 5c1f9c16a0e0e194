"""The networks have the shapes, the names and the weights that their specs promise."""

import math

import pytest
import torch

from hsu_core import models, spec

CASES = [
    (spec.MLP(), spec.Digits),
    (spec.MLP(hidden=()), spec.CIFAR100),
    (spec.SmallCNN(), spec.Digits),
    (spec.SmallCNN(width=4), spec.FashionMNIST),
    (spec.CNN9(), spec.CIFAR100),
]


def test_every_kind_of_the_spec_has_a_builder() -> None:
    assert set(models.BUILDERS) == set(spec.kinds(spec.Model))


@pytest.mark.parametrize(("model", "dataset"), CASES)
def test_a_network_maps_images_to_a_logit_a_class(model: spec.Model, dataset: type[spec.Digits]) -> None:
    facts = dataset.facts
    assert model.misfit(facts.shape) is None
    assert models.build(model, facts, seed=0)(torch.zeros(2, *facts.shape)).shape == (2, facts.classes)


def test_cnn9_has_the_authors_layers_and_number_of_parameters() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR100.facts, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_995_520
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters() if not name.startswith("norm")}
    assert shapes == {
        "conv1_1.weight": (64, 3, 3, 3),
        "conv1_2.weight": (64, 64, 3, 3),
        "conv1_3.weight": (64, 64, 3, 3),
        "conv2_1.weight": (128, 64, 3, 3),
        "conv2_2.weight": (128, 128, 3, 3),
        "conv2_3.weight": (128, 128, 3, 3),
        "conv3_1.weight": (256, 128, 3, 3),
        "conv3_2.weight": (256, 256, 3, 3),
        "conv3_3.weight": (256, 256, 3, 3),
        "fc.weight": (256, 256, 4, 4),
        "classifier.weight": (100, 256),
    }


def test_weights_have_the_variance_of_he() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR100.facts, seed=3)
    weight = network.get_parameter("conv3_2.weight")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("model", [spec.MLP(), spec.SmallCNN()])
def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_alone(model: spec.Model) -> None:
    facts = spec.Digits.facts
    torch.manual_seed(1)
    one = models.build(model, facts, seed=5)
    after_one = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(after_one, torch.get_rng_state())
    torch.manual_seed(2)
    same, other = models.build(model, facts, seed=5), models.build(model, facts, seed=6)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name))
    assert not torch.equal(one.get_parameter("classifier.weight"), other.get_parameter("classifier.weight"))
