"""Which residual networks take images, and what is each made of?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from hsu_core.spec.facts import ImageFacts
from hsu_core.spec.geometry import Geometry, Layer, Operation
from hsu_core.spec.image_sizes import For32x32
from hsu_core.spec.values import WHOLE, fault

__all__ = ["Block", "ResNet18", "ResNetCIFAR", "WideResNet"]

_NORMED: tuple[Operation, ...] = ("norm", "relu")


class Block(NamedTuple):
    """Two convolutions with a shortcut around them."""

    name: str
    out: int
    inputs: int
    stride: int

    @property
    def changes_shape(self) -> bool:
        """Whether the shortcut has to change the shape too."""
        return self.stride != 1 or self.inputs != self.out


def _blocks(widths: tuple[int, ...], *, inputs: int, count: int) -> Iterator[Block]:
    """`stageS_1`, `stageS_2`, …; all stages but the first begin with a stride of 2."""
    for stage, width in enumerate(widths, start=1):
        for place in range(1, count + 1):
            yield Block(f"stage{stage}_{place}", width, inputs, stride=2 if stage > 1 and place == 1 else 1)
            inputs = width


def _convolution(
    name: str, out: int, inputs: int, side: int, *, kernel: int = 3, stride: int = 1, then: tuple[Operation, ...] = ()
) -> Layer:
    """A convolution without bias; `side` is the side of its output."""
    return Layer(
        name, "conv", out, inputs, kernel=kernel, stride=stride, padding=kernel // 2, positions=side**2, then=then
    )


def _of_blocks(
    facts: ImageFacts, blocks: Sequence[Block], *, stem: int, shortcut: tuple[Operation, ...] | None
) -> Geometry:
    """`shortcut`: what follows the convolution of a shortcut that changes the shape; None if it has no convolution."""
    channels, side, _ = facts.shape
    layers = [_convolution("stem", stem, channels, side, then=_NORMED)]
    for block in blocks:
        side //= block.stride
        name, out, inputs, stride = block
        layers += [
            _convolution(f"{name}.conv1", out, inputs, side, stride=stride, then=_NORMED),
            _convolution(f"{name}.conv2", out, out, side, then=_NORMED),
        ]
        if block.changes_shape and shortcut is not None:
            layers.append(_convolution(f"{name}.shortcut", out, inputs, side, kernel=1, stride=stride, then=shortcut))
    return Geometry((*layers, Layer("classifier", "linear", facts.classes, blocks[-1].out, bias=True, is_final=True)))


class ResNetCIFAR(For32x32):
    """The residual networks for CIFAR (He et al. 2016, arXiv 1512.03385, 4.2): 6n + 2 layers of 16, 32, 64 channels.

    A shortcut that changes the shape keeps every second place and adds channels of zeros (their option A).
    """

    kind: Literal["resnet_cifar"] = "resnet_cifar"
    depth: Annotated[int, Field(ge=8, le=1202), WHOLE] = 20
    """Layers with weights: 20, 32, 56, … 6n + 2."""

    @model_validator(mode="after")
    def _of_whole_blocks(self) -> ResNetCIFAR:
        if self.depth % 6 != 2:
            raise fault("depth", "no_such_depth", f"expected a depth of 6n + 2, as 20, 32 or 56, found {self.depth}")
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in order."""
        return tuple(_blocks((16, 32, 64), inputs=16, count=(self.depth - 2) // 6))

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`stem`, then of each block `conv1` and `conv2`, then `classifier`."""
        return _of_blocks(facts, self.blocks, stem=16, shortcut=None)


class ResNet18(For32x32):
    """ResNet-18 (He et al. 2016, arXiv 1512.03385) with the stem for small images: a 3×3 convolution and no pooling."""

    kind: Literal["resnet18"] = "resnet18"

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in order."""
        return tuple(_blocks((64, 128, 256, 512), inputs=64, count=2))

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`stem`, then of each block `conv1`, `conv2` and, where its shape changes, `shortcut`; then `classifier`."""
        return _of_blocks(facts, self.blocks, stem=64, shortcut=("norm",))


class WideResNet(For32x32):
    """Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146), with norms before convolutions.

    The default is WRN-28-10.
    """

    kind: Literal["wide_resnet"] = "wide_resnet"
    depth: Annotated[int, Field(ge=10, le=1000), WHOLE] = 28
    """Layers with weights: 6n + 4."""
    widening: Annotated[int, Field(ge=1, le=32), WHOLE] = 10
    """Factor by which it is wider than a ResNet of 16, 32, 64 channels."""

    @model_validator(mode="after")
    def _of_whole_blocks(self) -> WideResNet:
        if self.depth % 6 != 4:
            raise fault("depth", "no_such_depth", f"expected a depth of 6n + 4, as 16, 22 or 28, found {self.depth}")
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in order."""
        widths = tuple(self.widening * width for width in (16, 32, 64))
        return tuple(_blocks(widths, inputs=16, count=(self.depth - 4) // 6))

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`stem`, then of each block `conv1`, `conv2` and, where its shape changes, `shortcut`; then `classifier`.

        The next block's norm is applied to the sum of a block and its shortcut.
        """
        return _of_blocks(facts, self.blocks, stem=16, shortcut=())
