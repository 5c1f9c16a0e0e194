"""Names of layers that a network does not read are found before anything is built; so is a penalty without a layer."""

from __future__ import annotations

from typing import Any

import pytest
from short_runs import training
from small_worlds import TRAININGS
from small_worlds import training as small

from hsu_core import models, regularizers, spec
from hsu_core.regularizers import layers
from hsu_core.spec.layer_names import too_small


def found(**changes: Any) -> list[tuple[str, str]]:
    return [(misfit.pointer, misfit.reason) for misfit in training(**changes).layer_misfits()]


@pytest.mark.parametrize("network", TRAININGS)
def test_the_names_of_a_networks_own_layers_are_right(network: str) -> None:
    chosen = small(network)
    names = tuple(layer.name for layer in chosen.geometry.layers)
    exact = small(network, record={"layers": names}, regularizer={"kind": "mhe", "layers": names})
    assert [*chosen.layer_misfits(), *exact.layer_misfits()] == []


def test_each_pattern_that_matches_nothing_is_named_with_the_layers_that_there_are() -> None:
    there = "matches no layer whose neurons are read; there are conv1, conv2, conv3, classifier"
    assert found(
        record={"layers": ["conv*", "fc"]},
        regularizer={"kind": "mhe", "layers": ["conv9", "conv1"], "layer_weights": {"head": 2.0, "conv1": 1.0}},
    ) == [
        ("/record/layers/1", f"'fc' {there}"),
        ("/regularizer/layers/0", f"'conv9' {there}"),
        ("/regularizer/layer_weights", f"'head' {there}"),
    ]
    assert found(regularizer={"kind": "none"}) == found(regularizer={"kind": "koleo"}) == []


def test_of_a_deep_network_the_first_layers_are_listed() -> None:
    deep = training(
        dataset={"kind": "cifar10"}, model={"kind": "resnet_cifar", "depth": 1202}, record={"layers": ["a"]}
    )
    (misfit,) = deep.layer_misfits()
    assert misfit.reason.endswith("stage1_9.conv2, stage1_10.conv1 and 1182 more")


def test_a_pattern_that_matches_only_what_is_left_out_is_named() -> None:
    """The attention vectors of a GAT are weights, but not read as neurons."""
    asked = small("gat", regularizer={"kind": "mhe", "layers": ["conv1.att*"]})
    (misfit,) = asked.layer_misfits()
    assert misfit.reason.startswith("'conv1.att*' matches no layer whose neurons are read; there are ")
    model = models.build(asked.model, asked.dataset.facts, seed=0)
    assert {"conv1.att_src", "conv1.att_dst"} < set(layers.unread(model))
    with pytest.raises(ValueError, match=r"'conv1.att\*' matches no layer that is read: conv1.att_src is att_src of"):
        regularizers.build(asked.regularizer, model, final=())


def test_a_penalty_all_of_whose_layers_are_too_small_has_none() -> None:
    narrow = {"kind": "mlp", "hidden": [1, 8]}
    one, both = {"kind": "mhs", "layers": ["hidden1"]}, {"kind": "mhs", "layers": ["hidden*"]}
    assert found(model=narrow, regularizer=one) == [
        (
            "/regularizer",
            "mhs finds no layer that it could spread: hidden1 has a single neuron: there is no pair to spread",
        )
    ]
    ((_, reason),) = found(model=narrow, regularizer=both)
    assert reason.endswith("hidden2 has neurons of a single dimension: there are only two directions")
    assert found(model=narrow, regularizer={"kind": "mhs"}) == []  # the classifier is left
    assert found(model=narrow, regularizer=one | {"hidden_weight": 0}) == []  # and where nothing was wanted
    assert found(model=narrow, regularizer=one | {"layer_weights": {"hidden1": 0.0}}) == []


@pytest.mark.parametrize("kind", [kind for kind in spec.kinds(spec.LayerRegularizer) if kind != "none"])
def test_what_is_refused_is_what_building_refuses(kind: str) -> None:
    asked = training(model={"kind": "mlp", "hidden": [1, 8]}, regularizer={"kind": kind, "layers": ["hidden1"]})
    model = models.build(asked.model, asked.dataset.facts, seed=0)
    misfits = list(asked.layer_misfits())
    if not misfits:
        assert regularizers.build(asked.regularizer, model, final="classifier").layers
        return
    with pytest.raises(ValueError, match=misfits[0].reason):
        regularizers.build(asked.regularizer, model, final="classifier")
    assert isinstance(asked.regularizer, spec.LayerPenalty)
    assert too_small(asked.regularizer, 1, 64)
