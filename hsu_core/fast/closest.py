"""How close are the two closest points? One pass for the largest cosine, then two rows of gradient.

Knows the rows of one matrix, or of each matrix of a stack. The pass only finds the pair; its distance is computed from
the difference of its rows.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hsu_core.fast.closed_form import Evaluated, closed_form
from hsu_core.fast.directions import Directions, check_pairs, computable, directions, may_look
from hsu_core.fast.gram import LIMIT, Gram, Size, Tile, diagonal, gram_of_units, gram_of_weights
from hsu_core.fast.nearly_parallel import AT_ONCE, forces, gap

ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-14}
"""Cosines that differ by less than this may be in the wrong order."""


def separation(
    w: Float[Tensor, "*b n d"], *, half_space: bool = False, low_precision: bool = False, _tile: Size | None = None
) -> Float[Tensor, "*b"]:
    """The smallest ‖xᵢ − xⱼ‖² of a pair i < j, in [0, 4]. If pairs tie, one gets the gradient; at 0 it is 0.

    The distance is exact, and the pair is the closest one. But with `low_precision`, on a GPU, or in a stack, it may be
    another pair whose cosine rounds to the same number (to 0.01, or 1e-6). ValueError without a pair, as in `riesz`.
    Liu et al. 2021 (arXiv 2103.01649), maximum hyperspherical separation.
    """
    w = computable(w)
    check_pairs(w, half_space=half_space)
    return closed_form(partial(_evaluate, half_space=half_space, low_precision=low_precision, size=_tile), w)


def _evaluate(
    w: Float[Tensor, "*b n d"], *, half_space: bool, low_precision: bool, size: Size | None, **_: object
) -> Evaluated:
    *stack, n, d = w.shape
    if n == 1:
        return w.new_full(stack, 4.0), _no_rows, (w,)  # x and −x, for any x
    at = directions(w)
    make = gram_of_weights if n <= d else gram_of_units
    gram = make(at, low_precision=low_precision, size=size)
    cosine, both = _closest(gram, half_space=half_space)
    if may_look(w) and not low_precision and cosine.item() > LIMIT[w.dtype]:
        both = _closest_of_rounded(w, gram, cosine.item(), half_space=half_space)
    squared, gradient = _distance(at, both, half_space=half_space)
    value = (squared + 0 * cosine).to(w.dtype)  # a NaN anywhere makes the largest cosine a NaN
    return value, _two_rows, (w, both, gradient)


def _closest(gram: Gram, *, half_space: bool) -> tuple[Float[Tensor, "*b"], Int[Tensor, "*b 2"]]:
    """The largest cosine of a pair, up to rounding, and its two rows."""
    best = gram.factor.new_full(gram.factor.shape[:-2], -3.0, dtype=gram.dtype)
    both = torch.zeros(*best.shape, 2, dtype=torch.int64, device=best.device)
    for tile in gram.tiles():
        g = _nearness(gram, tile, half_space=half_space)
        top = g.amax(dim=(-2, -1))
        if may_look(g) and top.item() <= best.item():
            continue
        row = g.amax(dim=-1).argmax(dim=-1, keepdim=True)
        column = g.take_along_dim(row[..., None], dim=-2).argmax(dim=-1)  # indexing would make the host wait
        here = torch.cat([row + tile.rows.start, column + tile.columns.start], dim=-1)
        both = torch.where((top > best)[..., None], here, both)
        best = torch.maximum(best, top)
    return best, both


def _closest_of_rounded(w: Float[Tensor, "n d"], gram: Gram, cosine: float, *, half_space: bool) -> Int[Tensor, " 2"]:
    """The rows of the smallest gap among all pairs whose cosine is the largest up to rounding."""
    smallest, both = torch.inf, torch.zeros(2, dtype=torch.int64)
    step = max(1, AT_ONCE // w.shape[1])
    for tile in gram.tiles():
        places = (_nearness(gram, tile, half_space=half_space) >= cosine - ROUNDING[w.dtype]).nonzero()
        if not len(places):
            continue
        for batch in torch.split(places + torch.tensor([tile.rows.start, tile.columns.start]), step):
            squared, k = gap(w[batch[:, 0]], w[batch[:, 1]]).squared.min(dim=0)
            if squared.item() < smallest:
                smallest, both = squared.item(), batch[k]
            if smallest == 0:
                return both
    return both


def _nearness(gram: Gram, tile: Tile, *, half_space: bool) -> Float[Tensor, "*b rows columns"]:
    """The cosines to the nearer image, and −2 for a point with itself."""
    g = gram.cosines(tile)
    if half_space:
        g.abs_()
    if tile.square:
        diagonal(g).fill_(-2)
    return g


def _distance(
    at: Directions, both: Int[Tensor, "*b 2"], *, half_space: bool
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b 2 d"]]:
    """‖xᵢ − xⱼ‖² of two rows, to the nearer image in half space, and its gradient with respect to their weights.

    A row of zeros is orthogonal to the other.
    """
    weights, lever = at.weights.take_along_dim(both[..., None], dim=-2), at.lever.take_along_dim(both, dim=-1)
    pairs = gap(*weights.view(-1, 2, weights.shape[-1]).unbind(dim=1))
    gone = (lever == 0).any(dim=-1).flatten()
    toward = pairs.sign if half_space else torch.ones_like(pairs.sign)
    squared = torch.where(pairs.sign == toward, pairs.squared, 4 - pairs.squared)
    on_both = torch.stack(forces(pairs, torch.where(gone, 0.0, -2 * toward)), dim=1).view_as(weights)
    return torch.where(gone, 2.0, squared).view(both.shape[:-1]), on_both.to(lever.dtype) * lever[..., None]


def _two_rows(factor: Tensor, w: Tensor, both: Tensor, gradient: Tensor) -> tuple[Tensor]:
    push = gradient * factor[..., None, None]
    return (torch.zeros_like(w).scatter_add_(-2, both[..., None].expand_as(push), push),)


def _no_rows(_: Tensor, w: Tensor) -> tuple[Tensor]:
    return (torch.zeros_like(w),)
