"""How may the weights of a network be bound? Rotations of fixed neurons, and a classifier that is not trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.geometry import Geometry, Layer
from hsu_core.spec.layer_names import matching
from hsu_core.spec.values import WHOLE, Patterns, Positive, Spec

__all__ = ["OFT", "POET", "Classifier", "MaxSeparation", "Orthogonal", "Parametrization"]


class Orthogonal(Spec):
    """Fixed hidden weights, multiplied by orthogonal matrices that are made of blocks by Cayley's transform."""

    block: Annotated[int, Field(ge=2, le=1024), WHOLE] = 32
    """Size of the blocks; what is left over has a smaller one."""
    layers: Patterns = ("*",)
    """Names or patterns of the hidden linear layers and convolutions that it acts on; never the classifier."""

    @abstractmethod
    def sides(self, layer: Layer) -> tuple[int, ...]:
        """The sizes of a layer's orthogonal matrices."""

    def blocks(self, d: int) -> tuple[int, int]:
        """How many whole blocks a matrix of size d has, and the size of the one that is left over, or 0."""
        size = min(self.block, d)
        rest = d % size
        return d // size, rest if rest > 1 else 0

    def bound(self, geometry: Geometry) -> Iterator[Layer]:
        """The layers whose weights it fixes."""
        named = matching(self.layers, geometry.names)
        for layer in geometry.layers:
            is_rotated = not layer.is_final and layer.kind != "embedding" and layer.dimension > 1
            if is_rotated and layer.name in named:
                yield layer

    def parameters(self, geometry: Geometry) -> int:
        """Parameters that it adds: the entries of skew-symmetric blocks."""
        return sum(self._entries(side) for layer in self.bound(geometry) for side in self.sides(layer))

    def flops(self, geometry: Geometry) -> int:
        """Of a step's forward pass: making the blocks (three products each), and multiplying the weights by them."""
        total = 0
        for layer in self.bound(geometry):
            for side in self.sides(layer):
                size = min(self.block, side)
                total += 6 * side * size**2 + 2 * layer.out * layer.dimension * size
        return total

    def _entries(self, d: int) -> int:
        count, rest = self.blocks(d)
        size = min(self.block, d)
        return count * size * (size - 1) // 2 + rest * (rest - 1) // 2


class OFT(Orthogonal):
    """Orthogonal finetuning (Qiu et al. 2023, arXiv 2306.07280): the neurons of a layer are only rotated together.

    The weight is W₀·Rᵀ with W₀ as it was drawn, and R orthogonal, made of blocks by Cayley's transform. So all angles
    between neurons, and with them every hyperspherical energy of full or half space, stay what they were at the start.
    """

    kind: Literal["oft"] = "oft"

    def sides(self, layer: Layer) -> tuple[int, ...]:
        """One matrix, of the neurons' dimension."""
        return (layer.dimension,)


class POET(Orthogonal):
    """Orthogonal equivalence (Qiu et al. 2025, arXiv 2506.08001): the weight keeps its singular values.

    The weight is R·W₀·P with R and P orthogonal, made of blocks by Cayley's transform. W₀ is as it was drawn, with
    neurons of one length. P keeps the angles between neurons, but R mixes neurons, so energies change in training.
    The blocks stay where they are: the paper's merging of R and P into W₀, with new random blocks, is not done. With
    blocks as large as the layer, R and P are any rotations that Cayley's transform reaches.
    """

    kind: Literal["poet"] = "poet"

    def sides(self, layer: Layer) -> tuple[int, ...]:
        """P, of the neurons' dimension, and R, of their number; a single neuron has no R."""
        return (layer.dimension, layer.out) if layer.out > 1 else (layer.dimension,)


Parametrization = Annotated[OFT | POET, Field(discriminator="kind")]


class MaxSeparation(Spec):
    """A classifier that is not trained: its class vectors are as far from each other as possible.

    They are a regular simplex, turned at random (Kasarla et al. 2022, arXiv 2206.08704). For more classes than
    dimensions + 1, which no simplex has, they are points of low energy.
    """

    kind: Literal["max_separation"] = "max_separation"
    scale: Positive = 1.0
    """Length of the class vectors."""


Classifier = MaxSeparation
