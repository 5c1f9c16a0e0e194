"""How is a large Gram matrix processed? Tile by tile, on and above the diagonal, each while it is in the cache.

Knows directions, tiles and matrix products, in the type of the weights or in bfloat16. Knows no energies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.fast.directions import Directions

LIMIT = {torch.float32: 0.95, torch.float64: 0.999}
"""|cos| above which a pair is nearly parallel: there 2 − 2cos loses a digit in float32, three of 16 in float64."""

LOW_PRECISION_LIMIT = 0.8
"""The same for cosines rounded to bfloat16, with errors of up to 0.004."""

Size = tuple[int, int]
"""Numbers of rows and columns of a tile; at least as many columns as rows."""


class Tile(NamedTuple):
    """A block of the Gram matrix."""

    rows: slice
    columns: slice
    square: int
    """How many columns, from the first, are the same points as the rows."""

    @property
    def others(self) -> slice:
        """The columns that are not also rows of this tile."""
        return slice(self.columns.start + self.square, self.columns.stop)


class Gram(NamedTuple):
    """The cosines of the rows of `factor`, after scaling; seldom needed as a whole matrix."""

    factor: Float[Tensor, "*b n d"]
    scale: Float[Tensor, "*b n"] | None
    size: Size
    limit: float
    """|cos| above which a cosine is too imprecise to use."""
    dtype: torch.dtype

    def tiles(self) -> Iterator[Tile]:
        """Tiles that contain every pair i < j exactly once: squares on the diagonal, and the tiles to their right."""
        (rows, columns), n = self.size, self.factor.shape[-2]
        for top in range(0, n, rows):
            bottom = min(top + rows, n)
            for left in range(top, n, columns):
                yield Tile(slice(top, bottom), slice(left, min(left + columns, n)), (left == top) * (bottom - top))

    def cosines(self, tile: Tile) -> Float[Tensor, "*b rows columns"]:
        """The cosines of a tile, with zeros instead of ones on the diagonal."""
        g = (self.factor[..., tile.rows, :] @ self.factor[..., tile.columns, :].mT).to(self.dtype)
        if self.scale is not None:
            g.mul_(self.scale[..., None, tile.columns]).mul_(self.scale[..., tile.rows, None])
        if tile.square:
            diagonal(g).zero_()
        return g

    def whole(self) -> Float[Tensor, "*b n n"]:
        """All cosines."""
        *stack, n, _ = self.factor.shape
        matrix = torch.empty(*stack, n, n, dtype=self.dtype, device=self.factor.device)
        for tile in self.tiles():
            fill(matrix, tile, self.cosines(tile))
        return matrix


def diagonal(matrix: Float[Tensor, "*b rows columns"]) -> Float[Tensor, "*b rows"]:
    """A view of the diagonal, to read or write."""
    return matrix.diagonal(dim1=-2, dim2=-1)


def fill(matrix: Float[Tensor, "*b n n"], tile: Tile, values: Float[Tensor, "*b rows columns"]) -> None:
    """Write a tile and its transpose into a symmetric matrix."""
    matrix[..., tile.rows, tile.columns] = values
    matrix[..., tile.others, tile.rows] = values[..., tile.square :].mT


def gram_of_weights(at: Directions, *, low_precision: bool = False, size: Size | None = None) -> Gram:
    """The Gram matrix from unscaled weights: n² numbers are scaled, not n·d."""
    return _gram(at.rows, at.scale, low_precision=low_precision, size=size)


def gram_of_units(at: Directions, *, low_precision: bool = False, size: Size | None = None) -> Gram:
    """The Gram matrix from unit vectors: n·d numbers are scaled, not n²."""
    return _gram(at.units, None, low_precision=low_precision, size=size)


def add_product(into: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a·b, multiplied in the type of a and b and summed in the type of `into`."""
    if into.dtype != b.dtype:
        into.add_(a @ b)
    elif into.ndim == 2:
        into.addmm_(a, b)
    else:
        into.baddbmm_(a, b)


def _gram(rows: Tensor, scale: Tensor | None, *, low_precision: bool, size: Size | None) -> Gram:
    factor = rows.bfloat16() if low_precision else rows
    limit = LOW_PRECISION_LIMIT if low_precision else LIMIT[rows.dtype]
    return Gram(factor, scale, size or _size(rows, low_precision=low_precision), limit, rows.dtype)


def _size(rows: Tensor, *, low_precision: bool) -> Size:
    """Tiles that fit a core's cache and still multiply at full speed, by measurement; on a GPU, few launches."""
    n = rows.shape[-2]
    if rows.device.type != "cpu":
        return 4096, 4096
    if n <= 128:
        return n, n
    return (min(max(n // 2, 128), 512) if low_precision else min(max(n // 4, 64), 256)), 1024
