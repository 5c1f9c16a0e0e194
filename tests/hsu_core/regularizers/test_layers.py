"""Which weights of a model are points."""

import pytest
import torch
from torch import nn

from hsu_core import models, spec
from hsu_core.regularizers.layers import chosen, layers

FACTS = spec.Digits.facts


def test_layers_are_the_linear_and_convolutional_ones_in_module_order() -> None:
    found = layers(models.build(spec.SmallCNN(width=8), FACTS, seed=0))
    assert [(layer.name, tuple(layer.points().shape), layer.is_final) for layer in found] == [
        ("conv1", (8, 9), False),
        ("conv2", (16, 72), False),
        ("conv3", (16, 144), False),
        ("classifier", (10, 16), True),
    ]


def test_kernels_flatten_in_logical_order_in_every_memory_format() -> None:
    network = models.build(spec.SmallCNN(), FACTS, seed=0)
    before = [layer.points().clone() for layer in layers(network)]
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    after = [layer.points() for layer in layers(network)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="ReLU has no layer whose neurons are read, as linear ones"):
        layers(nn.ReLU())


def test_layers_are_chosen_by_name_or_pattern() -> None:
    found = layers(models.build(spec.SmallCNN(), FACTS, seed=0))
    assert [layer.name for layer in chosen(found, ["conv[12]", "classifier"], field="record.layers")] == [
        "conv1",
        "conv2",
        "classifier",
    ]
    with pytest.raises(ValueError, match=r"record\.layers: 'fc' matches no layer; there are conv1, conv2"):
        chosen(found, ["*", "fc"], field="record.layers")
