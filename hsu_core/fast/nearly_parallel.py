"""Which pairs are nearly parallel, and what is their exact energy? For them 2 − 2cos has too few correct digits.

Knows tiles of cosines and rows. These few pairs are computed again in float64 from differences, and their forces are
added outside the matrix products.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hsu_core.fast.directions import may_look, normalized
from hsu_core.fast.pairs import PairFunction

LARGEST = 1e30
"""A larger component of a force is cut to this, so that two opposite ones never add to inf − inf."""

AT_ONCE = 2**22
"""Numbers in one batch of rows that are computed again."""


class Close(NamedTuple):
    """Nearly parallel pairs of a tile of cosines, each pair once, by their indices in the tile.

    The row numbers continue through a stack of tiles; the column numbers start again in each tile.
    """

    mask: Bool[Tensor, "*b rows columns"]
    """The cosines that must not be used, in both halves of a square on the diagonal."""
    i: Int[Tensor, " pairs"]
    j: Int[Tensor, " pairs"]
    counts: Bool[Tensor, " pairs"]
    """If false, the pair is only a placeholder."""


def close_pairs(g: Float[Tensor, "*b rows columns"], limit: float, *, square: int) -> Close | None:
    """The pairs with |g| > limit; the first `square` columns are the rows' own points, with zeros on the diagonal.

    If the values of g must not be read, it returns only each row's nearest partner.
    """
    if not may_look(g):
        return nearest_partners(g, limit, square=square)
    if not (g.amax().item() > limit or g.amin().item() < -limit):
        return None
    mask = g.abs() > limit
    i, j = mask.nonzero(as_tuple=True)
    once = (j >= square) | (j > i)
    return Close(mask, i[once], j[once], torch.ones_like(i[once], dtype=torch.bool))


def nearest_partners(g: Float[Tensor, "*b rows columns"], limit: float, *, square: int) -> Close:
    """For each row the column with the largest |g|, counted where |g| > limit: as many pairs as rows, for any g.

    Other close pairs keep their rounded cosine, which is moved, in g, far enough from ±1 to make every energy finite.
    """
    above = g.abs()
    above[..., :square].triu_(1)
    largest, j = above.max(dim=-1)
    counts = largest > limit
    mask = torch.zeros_like(g, dtype=torch.bool)
    mask.scatter_(-1, j[..., None], counts[..., None])
    if square:
        mask[..., :square].logical_or_(mask[..., :square].mT.clone())
    bound = 1 - 1e-4 * (1 - limit)
    g.clamp_(-bound, bound)
    return Close(mask, torch.arange(j.numel(), device=g.device), j.flatten(), counts.flatten())


class Gap(NamedTuple):
    """Pairs of unit vectors (a, b), with the sign σ of a·b: from a to the nearer one of b and −b, in float64."""

    a: Float[Tensor, "pairs d"]
    b: Float[Tensor, "pairs d"]
    sign: Float[Tensor, " pairs"]
    vector: Float[Tensor, "pairs d"]
    """δ = a − σb."""
    squared: Float[Tensor, " pairs"]
    """p = ‖δ‖² = 2 − 2|a·b|."""


def gap(a: Float[Tensor, "pairs d"], b: Float[Tensor, "pairs d"]) -> Gap:
    """The gap between the directions of nonzero rows."""
    a, b = normalized(torch.cat([a, b]).double()).rows.chunk(2)
    sign = torch.where((a * b).sum(dim=1) < 0, -1.0, 1.0).to(a.dtype)
    vector = a - sign[:, None] * b
    return Gap(a, b, sign, vector, vector.square().sum(dim=1))


def energy_and_slope(pairs: Gap, pair: PairFunction) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """The values f and f′(g); where p is below the core, on the tangent in p at its edge, with df/dp = −σ f′(g)/2."""
    outside = pairs.squared.maximum(torch.where(pairs.sign > 0, pair.core, pair.mirror_core).to(pairs.squared))
    q = torch.where(pairs.sign > 0, outside, 4 - outside)
    mirror = torch.where(pairs.sign > 0, 4 - outside, outside)
    energy, slope = pair.of_distances(q, mirror)
    return energy - pairs.sign * slope / 2 * (pairs.squared - outside), slope


def forces(pairs: Gap, slope: Float[Tensor, " pairs"]) -> tuple[Float[Tensor, "pairs d"], Float[Tensor, "pairs d"]]:
    """The gradients by a and b, orthogonal to them: f′(g)(b − g·a) = −σ f′(g)(δ − ½p·a), so without cancellation."""
    push, half = (slope * pairs.sign)[:, None], pairs.squared[:, None] / 2
    on_a = push * (half * pairs.a - pairs.vector)
    on_b = push * (half * pairs.b + pairs.sign[:, None] * pairs.vector)
    return on_a.clamp_(-LARGEST, LARGEST), on_b.clamp_(-LARGEST, LARGEST)
