"""What does `build` take of a model: which weights count, which are left out and why, and which models are refused?"""

from __future__ import annotations

import pytest
import torch
from own_models import D, HeadFirst, square
from torch import nn

from hsu_core import regularizers, spec

# --- counted once, told if left out -----------------------------------------------------------------------------------


def test_a_weight_of_two_layers_counts_once_and_for_the_classifier() -> None:
    model = nn.Sequential(square(), nn.ReLU(), square(), nn.ReLU(), nn.Linear(D, D))
    model[2].weight = model[0].weight
    penalty = regularizers.build(spec.MHE(), model)
    assert list(penalty.by_layer()) == ["0", "4"]
    assert penalty.skipped == {"2": "shares its weight with 0, where it counts"}
    assert list(regularizers.build(spec.MHE(layers=("2", "4")), model).by_layer()) == ["2", "4"]
    model[4].weight = model[0].weight
    assert list(regularizers.build(spec.MHE(), model).by_layer()) == ["4"]


def test_weights_that_are_no_points_are_told_with_the_reason() -> None:
    model = nn.Sequential()
    for name, part in {
        "deep": nn.Conv2d(D, D, 3, groups=D),
        "two": nn.Bilinear(D, D, 3),
        "norm": nn.LayerNorm((3, D)),
        "tokens": nn.Embedding(20, D),
        "head": nn.Linear(D, 20),
    }.items():
        model.add_module(name, part)
    model.own = nn.Parameter(torch.ones(3, 4))
    penalty = regularizers.build(spec.MHE(), model, final="head")
    assert list(penalty.by_layer()) == ["tokens", "head"]
    assert penalty.skipped == {
        "own": "is own of Sequential, which is not read as neurons",
        "deep": "is a depthwise convolution: each neuron sees another channel, so there is no pair to spread",
        "two": "is weight of Bilinear, which is not read as neurons",
    }
    with pytest.raises(ValueError, match=r"'dee\*' matches no layer that is read: deep is a depthwise convolution"):
        regularizers.build(spec.MHE(layers=("dee*",)), model, final="head")
    model.head.weight = model.tokens.weight
    assert regularizers.build(spec.MHE(), model, final="head").skipped["tokens"] == (
        "shares its weight with head, where it counts"
    )


# --- errors at build --------------------------------------------------------------------------------------------------


def test_none_needs_no_layer() -> None:
    assert regularizers.build(spec.NoRegularizer(), nn.ReLU())().item() == 0


@pytest.mark.parametrize("chosen", [spec.MHE(), spec.MHP(), spec.Uniformity()])
def test_a_model_of_which_all_is_frozen_is_refused(chosen: spec.Regularizer) -> None:
    model = HeadFirst().requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match=f"{chosen.kind} has nothing to move: .* all frozen"):
        regularizers.build(chosen, model)


def test_a_lazy_layer_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"0 is a lazy layer and has no weight yet: .* call it once"):
        regularizers.build(spec.MHE(), nn.Sequential(nn.LazyLinear(4), nn.LazyLinear(3)))


def test_a_schedule_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="follows the schedule decay: expected build"):
        regularizers.build(spec.MHE(schedule=spec.Decay()), HeadFirst())
