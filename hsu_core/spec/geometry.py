"""What is a network made of? Its layers with neurons, their sizes, and what they keep for the backward pass.

Knows only numbers. `hsu_core.models` builds the module from them, and `hsu_core.costs` computes costs from them. So
each size of a network is written once, and its costs are known before anything is built. The layers are a list and not
a chain: residual, attention and graph networks have such a list too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

__all__ = ["Geometry", "Layer", "Operation"]

Operation = Literal["norm", "relu", "pool"]
"""`norm`: batch norm, with a scale and a shift for each neuron. `pool`: the maximum of each 2×2 square."""


class Layer(NamedTuple):
    """`out` neurons, which are points on a sphere. Each is evaluated at `positions` places of an example.

    The neurons of an embedding table are its rows; an example uses `positions` of them.
    """

    name: str
    """The module's name in the network."""
    kind: Literal["linear", "conv", "embedding"]
    out: int
    inputs: int
    """Features of a linear layer, channels of a convolution, numbers in a row of a table."""
    kernel: int = 1
    """Side of a convolution's kernel."""
    stride: int = 1
    padding: int = 0
    bias: bool = False
    positions: int = 1
    """Places of one example at which each neuron is evaluated."""
    then: tuple[Operation, ...] = ()
    """Operations before the next layer, in order: those that have parameters or keep numbers for the backward pass."""
    is_final: bool = False
    """Whether this layer computes the network's outputs: the classifier."""

    @property
    def dimension(self) -> int:
        """Weights of one neuron: the dimension of the space around the sphere."""
        return self.inputs * self.kernel**2

    @property
    def parameters(self) -> int:
        """Weights, a bias for each neuron, and the scale and shift of each norm that follows."""
        return self.out * (self.dimension + self.bias + 2 * self.then.count("norm"))

    @property
    def flops(self) -> int:
        """Of one example's forward pass: a multiplication and an addition for each weight and place.

        An embedding has none, because its rows are only copied.
        """
        return 0 if self.kind == "embedding" else 2 * self.out * self.dimension * self.positions


class Geometry(NamedTuple):
    """The layers of a network, in module order, and its other costs.

    The first layer reads the example, which needs no gradient.
    """

    layers: tuple[Layer, ...]
    other_parameters: int = 0
    """Parameters outside the layers and the norms after them: position embeddings, a norm before a block."""
    other_flops: int = 0
    """Of one example's forward pass, in products without weights, as in attention."""
    per_step_flops: int = 0
    """Of a step's forward pass, for any number of examples: averages over a whole graph."""
    other_kept: int = 0
    """Numbers that one example keeps for the backward pass, in addition to those of the layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def parameters(self) -> int:
        """All parameters of the network."""
        return sum(layer.parameters for layer in self.layers) + self.other_parameters

    @property
    def forward_flops(self) -> int:
        """Floating-point operations of one example, forward only."""
        return sum(layer.flops for layer in self.layers) + self.other_flops

    @property
    def flops(self) -> int:
        """Floating-point operations of one example, forward and backward.

        Each product has two in the backward pass, one for each factor. But the examples need no gradient.
        """
        return 3 * self.forward_flops - self.layers[0].flops

    @property
    def final(self) -> Layer | None:
        """The classifier; None for a network without one, such as a network that compares embeddings."""
        return next((layer for layer in self.layers if layer.is_final), None)


def transformer_block(name: str, width: int, *, positions: int) -> Iterator[Layer]:
    """`query`, `key`, `value` and `out` of attention, then `up` and `down`, each with bias."""
    for part, out, inputs in (
        *((part, width, width) for part in ("query", "key", "value", "out")),
        ("up", 4 * width, width),
        ("down", width, 4 * width),
    ):
        yield Layer(f"{name}.{part}", "linear", out, inputs, bias=True, positions=positions)


def conv3x3(name: str, out: int, *, inputs: int, sides: tuple[int, int], then: tuple[Operation, ...]) -> Layer:
    """A 3×3 convolution without bias that keeps height and width."""
    return Layer(name, "conv", out, inputs, kernel=3, padding=1, positions=math.prod(sides), then=then)
