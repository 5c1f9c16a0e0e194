"""A penalty is the weighted sum of energies over the layers that a model really has."""

from typing import get_args

import pytest
import torch
from torch import nn

from hsu_core import energies, models, regularizers, spec

FACTS = spec.Digits.facts


def mlp(*hidden: int) -> nn.Module:
    return models.build(spec.MLP(hidden=hidden), FACTS, seed=0)


def test_every_kind_of_the_spec_but_none_has_an_energy() -> None:
    kinds = {part.model_fields["kind"].default for part in get_args(get_args(spec.Regularizer)[0])}
    assert set(regularizers.ENERGIES) | {"none"} == kinds


def test_layers_are_the_linear_and_convolutional_ones_in_module_order() -> None:
    found = regularizers.layers(models.build(spec.SmallCNN(width=8), FACTS, seed=0))
    assert [(layer.name, tuple(layer.points().shape), layer.is_final) for layer in found] == [
        ("conv1", (8, 9), False),
        ("conv2", (16, 72), False),
        ("conv3", (16, 144), False),
        ("classifier", (10, 16), True),
    ]


def test_kernels_flatten_in_logical_order_in_every_memory_format() -> None:
    network = models.build(spec.SmallCNN(), FACTS, seed=0)
    before = [layer.points().clone() for layer in regularizers.layers(network)]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    after = [layer.points() for layer in regularizers.layers(network)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="ReLU has no linear and no convolutional layer"):
        regularizers.layers(nn.ReLU())


@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_mhe_weighs_hidden_layers_in_half_space_and_the_classifier_in_full_space(s: float, angular: bool) -> None:
    network = mlp(12, 6)
    chosen = spec.MHE(s=s, angular=angular, hidden_weight=0.5, final_weight=3)
    w = {layer.name: layer.points() for layer in regularizers.layers(network)}
    expected = (
        0.5 * energies.riesz(w["hidden1"], s, angular=angular, half_space=True)
        + 0.5 * energies.riesz(w["hidden2"], s, angular=angular, half_space=True)
        + 3 * energies.riesz(w["classifier"], s, angular=angular)
    )
    torch.testing.assert_close(regularizers.build(chosen, network)(), expected)


def test_mhs_falls_when_the_closest_pair_moves_apart() -> None:
    network = mlp(12)
    penalty = regularizers.build(spec.MHS(half_space=False), network)
    w = {layer.name: layer.points() for layer in regularizers.layers(network)}
    expected = -0.1 * energies.separation(w["hidden1"]) - energies.separation(w["classifier"])
    torch.testing.assert_close(penalty(), expected)
    before = penalty()
    before.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    assert penalty() < before


def test_no_regularizer_is_a_penalty_of_zero() -> None:
    assert regularizers.build(spec.NoRegularizer(), mlp(4))().item() == 0


def test_a_weight_of_zero_leaves_its_layers_out() -> None:
    assert list(regularizers.build(spec.MHE(hidden_weight=0), mlp(4, 5)).by_layer()) == ["classifier"]


def test_the_penalty_holds_no_parameters_of_its_own() -> None:
    penalty = regularizers.build(spec.MHE(), mlp(4))
    assert list(penalty.parameters()) == []


def test_the_penalty_is_the_same_under_autocast() -> None:
    penalty = regularizers.build(spec.MHE(), mlp(32, 16))
    plain = penalty()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(penalty(), plain)
    assert penalty().dtype == torch.float32


@pytest.mark.parametrize(
    ("half_space", "reason"), [(False, "layer hidden1 has 1 in 64"), (True, "layer classifier has 10 in 1")]
)
def test_points_that_cannot_be_spread_are_refused(half_space: bool, reason: str) -> None:
    with pytest.raises(ValueError, match=f"mhe needs at least 2 neurons in 2 dimensions, but {reason}"):
        regularizers.build(spec.MHE(half_space=half_space), mlp(1))
