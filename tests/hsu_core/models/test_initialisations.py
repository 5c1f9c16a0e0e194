"""Are weights drawn as their names say?"""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from hsu_core import models, spec
from hsu_core.models import initialisations

KINDS = get_args(spec.Initialisation)


def test_every_kind_of_the_spec_is_drawn() -> None:
    assert set(initialisations.DRAWS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_depends_on_the_seed_alone_and_biases_are_0(kind: spec.Initialisation) -> None:
    one, again, other = (
        models.build(spec.VGG16(), spec.CIFAR10.facts, seed=seed, initialisation=kind) for seed in (1, 1, 2)
    )
    assert torch.equal(one.conv1_2.weight, again.conv1_2.weight)
    assert not torch.equal(one.conv1_2.weight, other.conv1_2.weight)
    assert not one.conv1_2.bias.any()


DEVIATIONS = {
    "kaiming_normal": math.sqrt(2 / 576),
    "kaiming_uniform": math.sqrt(2 / 576),
    "xavier_normal": math.sqrt(2 / (576 + 576)),
    "xavier_uniform": math.sqrt(2 / (576 + 576)),
}


@pytest.mark.parametrize("kind", DEVIATIONS)
def test_the_deviation_is_that_of_the_source(kind: spec.Initialisation) -> None:
    weight = models.build(spec.CNN9(), spec.CIFAR10.facts, seed=0, initialisation=kind).conv1_2.weight
    assert weight.std().item() == pytest.approx(DEVIATIONS[kind], rel=0.02)


def test_orthogonal_neurons_are_orthonormal_or_their_columns_are() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR10.facts, seed=0, initialisation="orthogonal")
    wide, tall = network.conv1_2.weight.flatten(1), network.conv1_1.weight.flatten(1)
    torch.testing.assert_close(wide @ wide.T, torch.eye(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(tall.T @ tall, torch.eye(27), atol=1e-5, rtol=0)


def test_the_default_is_that_of_the_networks_source() -> None:
    default, named = (
        models.build(spec.CNN9(), spec.CIFAR10.facts, seed=3, initialisation=kind) for kind in (None, "kaiming_normal")
    )
    assert torch.equal(default.fc.weight, named.fc.weight)
