"""Which networks take images, which images fit them, and what is each made of?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.facts import ImageFacts
from hsu_core.spec.geometry import Geometry, Layer, Operation, conv3x3
from hsu_core.spec.image_sizes import For32x32
from hsu_core.spec.residual_models import ResNet18, ResNetCIFAR, WideResNet
from hsu_core.spec.values import Spec, Width, at_most
from hsu_core.spec.vision_transformers import ViTTiny

__all__ = ["CNN9", "MLP", "VGG16", "BuiltInImageModel", "SmallCNN"]

DEEPEST = 32
"""The largest number of hidden layers of an MLP."""


class MLP(Spec):
    """Linear layers with ReLU between them; takes an image of any size, flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(max_length=DEEPEST), at_most(DEEPEST)] = (256, 128)
    """Widths of the hidden layers, first to last."""

    def misfit(self, _shape: tuple[int, int, int]) -> None:
        """None: an MLP accepts images of every size."""

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`hidden1`, `hidden2`, … with bias, then `classifier`."""
        widths = (math.prod(facts.shape), *self.hidden)
        hidden = (
            Layer(f"hidden{number}", "linear", out, inputs, bias=True, then=("relu",))
            for number, (inputs, out) in enumerate(pairwise(widths), start=1)
        )
        return Geometry((*hidden, Layer("classifier", "linear", facts.classes, widths[-1], is_final=True)))


class SmallCNN(Spec):
    """Three 3×3 convolutions with batch norm, two poolings and a classifier: for images of 8×8 to 28×28."""

    kind: Literal["small_cnn"] = "small_cnn"
    width: Width = 16
    """Channels of the first convolution; the second and third have twice as many."""

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit; None if they fit."""
        if min(shape[1:]) >= 8 and max(shape[1:]) <= 28:
            return None
        return f"small_cnn takes images of 8×8 to 28×28 pixels, these have {shape[1]}×{shape[2]}"

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`conv1` to `conv3`, then `classifier`, which reads the mean over the image."""
        (channels, height, breadth), width = facts.shape, self.width
        half, quarter = (height // 2, breadth // 2), (height // 4, breadth // 4)
        pooled: tuple[Operation, ...] = ("norm", "pool", "relu")
        return Geometry(
            (
                conv3x3("conv1", width, inputs=channels, sides=(height, breadth), then=pooled),
                conv3x3("conv2", 2 * width, inputs=width, sides=half, then=pooled),
                conv3x3("conv3", 2 * width, inputs=2 * width, sides=quarter, then=("norm", "relu")),
                Layer("classifier", "linear", facts.classes, 2 * width, is_final=True),
            )
        )


class CNN9(For32x32):
    """The authors' network (Liu et al. 2021, app. A): three times three 3×3 convolutions with batch norm, a 4×4
    convolution to 256 features, a linear classifier. 2,995,520 parameters with 100 classes.
    """  # noqa: D205

    kind: Literal["cnn9"] = "cnn9"

    def geometry(self, facts: ImageFacts) -> Geometry:
        """Stages `convS_1` to `convS_3`, each with a pool at its end; then `fc` and `classifier`."""
        convolutions = tuple(self._convolutions(*facts.shape[:2]))
        fc = Layer("fc", "conv", 256, convolutions[-1].out, kernel=4)
        return Geometry((*convolutions, fc, Layer("classifier", "linear", facts.classes, fc.out, is_final=True)))

    def _convolutions(self, channels: int, side: int) -> Iterator[Layer]:
        for stage, width in ((1, 64), (2, 128), (3, 256)):
            for place in (1, 2, 3):
                name = f"conv{stage}_{place}"
                pool: tuple[Operation, ...] = ("pool",) if place == 3 else ()
                yield conv3x3(name, width, inputs=channels, sides=(side, side), then=("norm", "relu", *pool))
                channels = width
            side //= 2


class VGG16(For32x32):
    """VGG-16 (Simonyan and Zisserman 2015, arXiv 1409.1556) with batch norm, and one linear layer after the last pool.

    The usual form for images of 32×32.
    """

    kind: Literal["vgg16_bn"] = "vgg16_bn"

    def geometry(self, facts: ImageFacts) -> Geometry:
        """Stages `convS_1`, `convS_2`, …, each with a pool at its end; then `classifier`."""
        channels, side, _ = facts.shape
        layers = []
        for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
            for place in range(1, count + 1):
                pool: tuple[Operation, ...] = ("pool",) if place == count else ()
                then = ("norm", "relu", *pool)
                layer = conv3x3(f"conv{stage}_{place}", width, inputs=channels, sides=(side, side), then=then)
                layers.append(layer._replace(bias=True))
                channels = width
            side //= 2
        return Geometry((*layers, Layer("classifier", "linear", facts.classes, channels, bias=True, is_final=True)))


BuiltInImageModel = MLP | SmallCNN | CNN9 | ResNetCIFAR | ResNet18 | WideResNet | VGG16 | ViTTiny
