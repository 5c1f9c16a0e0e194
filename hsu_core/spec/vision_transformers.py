"""Which transformers take images, and what is each made of?"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Literal

from pydantic import Field

from hsu_core.spec.facts import ImageFacts
from hsu_core.spec.geometry import Geometry, Layer, transformer_block
from hsu_core.spec.values import WHOLE, Spec

__all__ = ["ViTTiny"]


class ViTTiny(Spec):
    """ViT-Tiny (Dosovitskiy et al. 2021, arXiv 2010.11929; the size of Touvron et al. 2021, arXiv 2012.12877).

    Twelve blocks of width 192 with three heads. The tokens are the squares of the image and one learned token.
    Positions are learned too.
    """

    kind: Literal["vit_tiny"] = "vit_tiny"
    patch: Annotated[int, Field(ge=1, le=64), WHOLE] = 4
    """Side of a square, in pixels."""

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit; None if they fit."""
        if shape[1] % self.patch == shape[2] % self.patch == 0:
            return None
        return f"vit_tiny takes images of whole squares of {self.patch}×{self.patch}, these have {shape[1]}×{shape[2]}"

    @property
    def width(self) -> int:
        """Numbers in a token."""
        return 192

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return 3

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return 12

    def places(self, shape: tuple[int, int, int]) -> int:
        """Number of squares in an image."""
        return (shape[1] // self.patch) * (shape[2] // self.patch)

    def geometry(self, facts: ImageFacts) -> Geometry:
        """`patches`, of each block `query`, `key`, `value`, `out`, `up` and `down`, then `classifier`."""
        width, places = self.width, self.places(facts.shape)
        tokens = places + 1
        patches = Layer("patches", "conv", width, facts.shape[0], self.patch, self.patch, bias=True, positions=places)
        return Geometry(
            (
                patches,
                *chain.from_iterable(
                    transformer_block(f"blocks.{number}", width, positions=tokens) for number in range(self.depth)
                ),
                Layer("classifier", "linear", facts.classes, width, bias=True, is_final=True),
            ),
            other_parameters=width * (1 + tokens) + 2 * width * (2 * self.depth + 1),
            other_flops=4 * self.depth * tokens**2 * width,
            other_kept=self.depth * tokens * (4 * width + self.heads),
        )
