"""Which networks may be asked for, and which images fit them?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.values import Spec, Width, at_most

__all__ = [
    "CNN9",
    "MLP",
    "Model",
    "SmallCNN",
]

DEEPEST = 32
"""Hidden layers of an MLP."""


class MLP(Spec):
    """Linear layers with ReLU between them; takes an image of any size, flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(max_length=DEEPEST), at_most(DEEPEST)] = (256, 128)
    """Widths of the hidden layers, first to last."""

    def misfit(self, _shape: tuple[int, int, int]) -> None:
        """Nothing: an MLP takes every image."""


class SmallCNN(Spec):
    """Three 3×3 convolutions with batch norm, two poolings and a classifier: for images of 8×8 to 28×28."""

    kind: Literal["small_cnn"] = "small_cnn"
    width: Width = 16
    """Channels of the first convolution; the second and third have twice as many."""

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit, or nothing."""
        if min(shape[1:]) >= 8 and max(shape[1:]) <= 28:
            return None
        return f"small_cnn takes images of 8×8 to 28×28 pixels, these have {shape[1]}×{shape[2]}"


class CNN9(Spec):
    """The authors' network (Liu et al. 2021, app. A): three times three 3×3 convolutions with batch norm, a 4×4
    convolution to 256 features, a linear classifier. 2,995,520 parameters with 100 classes.
    """  # noqa: D205

    kind: Literal["cnn9"] = "cnn9"

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit, or nothing."""
        if shape[1:] == (32, 32):
            return None
        return f"cnn9 takes images of 32×32 pixels, these have {shape[1]}×{shape[2]}"


Model = Annotated[MLP | SmallCNN | CNN9, Field(discriminator="kind")]
