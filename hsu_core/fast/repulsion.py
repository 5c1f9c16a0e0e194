"""How strongly do the points repel each other? The Riesz energy and its gradient, tile by tile.

Knows the rows of one matrix, or of each matrix of a stack. A tile is a block of the Gram matrix that stays in the
cache. Only tiles on and above the diagonal are computed. Half space costs no more than full space, as a pair's mirror
images are functions of the same cosine.

The gradient by the unit vectors is D·U with Dᵢⱼ = f′(gᵢⱼ) and a zero diagonal. Where n ≤ d, D is kept and multiplied in
the backward pass; otherwise each tile of D is used at once, and the gradient is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hsu_core.fast.closed_form import Evaluated, closed_form
from hsu_core.fast.directions import Directions, check_pairs, computable, directions
from hsu_core.fast.gram import Gram, Size, Tile, add_product, diagonal, fill, gram_of_units, gram_of_weights
from hsu_core.fast.nearly_parallel import AT_ONCE, Close, close_pairs, energy_and_slope, forces, gap
from hsu_core.fast.pairs import PairFunction, pair_function

LARGEST_S = 128.0
"""Above it, even float64 overflows for pairs that are not close; the energy is then practically a separation."""

PART = 4096
"""Rows that are processed at a time. All n at once would take as much memory as the gradient once more."""

LARGEST_S_IN_FLOAT32 = 16.0
"""Above it, everything is computed in float64."""


def riesz(
    w: Float[Tensor, "*b n d"],
    s: float = 2.0,
    *,
    angular: bool = False,
    half_space: bool = False,
    low_precision: bool = False,
    _tile: Size | None = None,
) -> Float[Tensor, "*b"]:
    """Mean over pairs i < j of ρᵢⱼ⁻ˢ, or of −ln ρᵢⱼ for s = 0, as in `energies.riesz`; 0 ≤ s ≤ 128.

    ρᵢⱼ = ‖xᵢ − xⱼ‖, or with `angular` the angle arccos(xᵢ·xⱼ)/π. Half space: over the pairs of the doubled set,
    including its n antipodal ones. ValueError without a pair. Liu et al. 2018 (arXiv 1805.09298), eq. 1, as a mean.
    """
    w = computable(w)
    if not 0 <= s <= LARGEST_S:
        raise ValueError(f"expected an exponent 0 ≤ s ≤ {LARGEST_S:g}, found {s}; beyond, `separation` says the same")
    check_pairs(w, half_space=half_space)
    pair = pair_function(s, angular=angular, mirrored=half_space)
    exact = w.double() if s > LARGEST_S_IN_FLOAT32 else w
    evaluate = partial(_evaluate, pair=pair, half_space=half_space, low_precision=low_precision, size=_tile)
    return closed_form(evaluate, exact).to(w.dtype)


def _evaluate(
    w: Float[Tensor, "*b n d"],
    *,
    wanted: tuple[bool, ...],
    pair: PairFunction,
    half_space: bool,
    low_precision: bool,
    size: Size | None,
) -> Evaluated:
    n, d = w.shape[-2:]
    pairs = n * (2 * n - 1) if half_space else n * (n - 1) // 2
    weight = (2 if half_space else 1) / pairs
    constant = n * pair.antipodal / pairs if half_space else 0.0
    at = directions(w)
    method = _value_alone if not any(wanted) else _keeping_matrix if n <= d else _keeping_gradient
    make = gram_of_weights if method is _keeping_matrix else gram_of_units
    energy, gradient, saved = method(at, make(at, low_precision=low_precision, size=size), pair, weight)
    return (energy * weight + constant).to(w.dtype), gradient, saved


def _value_alone(at: Directions, gram: Gram, pair: PairFunction, _: float) -> Evaluated:
    """Σ f(gᵢⱼ) over pairs i < j."""
    energy, _pushes = _sweep(at, gram, pair, _unused, None)
    return energy, _nothing, ()


def _keeping_matrix(at: Directions, gram: Gram, pair: PairFunction, weight: float) -> Evaluated:
    """The gradient as one matrix times the weights: dwᵢ = Σⱼ (leverᵢ·Dᵢⱼ·scaleⱼ) wⱼ with Dᵢᵢ = −Σⱼ f′(gᵢⱼ) gᵢⱼ.

    That diagonal removes the radial part. Close pairs are not in D; their forces, if any, are kept separately.
    """
    *stack, n, _ = at.rows.shape
    matrix, radial = at.rows.new_empty(*stack, n, n), at.rows.new_zeros(*stack, n)

    def use(tile: Tile, g: Tensor, slope: Tensor) -> None:
        fill(matrix, tile, slope)
        moment = g.mul_(slope)
        radial[..., tile.rows] += moment.sum(dim=-1)
        radial[..., tile.others] += moment[..., tile.square :].sum(dim=-2)

    energy, pushes = _sweep(at, gram, pair, use, None)
    lever = (at.lever * weight)[..., None]
    diagonal(matrix).copy_(radial.neg_())
    matrix.mul_(at.scale[..., None, :]).mul_(lever)
    return energy, _product, (matrix, gram.factor, None if pushes is None else pushes.mul_(lever))


def _keeping_gradient(at: Directions, gram: Gram, pair: PairFunction, weight: float) -> Evaluated:
    """The gradient dwᵢ = leverᵢ (fᵢ − (uᵢ·fᵢ) uᵢ) from the forces fᵢ = Σⱼ f′(gᵢⱼ) uⱼ, summed over the tiles."""
    gradient = at.rows.new_zeros(at.rows.shape)

    def use(tile: Tile, _: Tensor, slope: Tensor) -> None:
        slope = slope.to(gram.factor.dtype)
        add_product(gradient[..., tile.rows, :], slope, gram.factor[..., tile.columns, :])
        if tile.others.start < tile.others.stop:
            others = slope[..., tile.square :].mT
            add_product(gradient[..., tile.others, :], others, gram.factor[..., tile.rows, :])

    energy, _pushes = _sweep(at, gram, pair, use, gradient)
    columns = at.scale[..., None], at.lever[..., None]
    for force, *part in zip(*(torch.split(each, PART, dim=-2) for each in (gradient, at.rows, *columns)), strict=True):
        rows, scale, lever = part
        radial = torch.linalg.vecdot(force, rows)[..., None] * scale.square()
        force.addcmul_(rows, radial, value=-1).mul_(lever * weight)
    return energy, _scaled, (gradient,)


def _sweep(
    at: Directions,
    gram: Gram,
    pair: PairFunction,
    use: Callable[[Tile, Tensor, Tensor], None],
    pushes: Float[Tensor, "*b n d"] | None,
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b n d"] | None]:
    """Σ f(gᵢⱼ) over pairs i < j; `use` gets every tile with its cosines and slopes f′(g), zero for close pairs.

    The forces of close pairs are added to `pushes`, which is allocated at the first one.
    """
    energy = at.rows.new_zeros(at.rows.shape[:-2], dtype=torch.float64)
    for tile in gram.tiles():
        g = gram.cosines(tile)
        close = close_pairs(g, gram.limit, square=tile.square)
        if close is not None:
            g.masked_fill_(close.mask, 0)
            pushes = at.rows.new_zeros(at.rows.shape) if pushes is None else pushes
            energy += _push(at.weights, tile, close, pair, pushes)
        f, slope = pair.of_cosine(g)
        for entries in (f, slope):
            if close is not None:
                entries.masked_fill_(close.mask, 0)
            if tile.square:
                diagonal(entries).zero_()
        energy += f.sum(dim=(-2, -1)) - f[..., : tile.square].sum(dim=(-2, -1)) / 2
        use(tile, g, slope)
    return energy, pushes


def _push(
    w: Float[Tensor, "*b n d"], tile: Tile, close: Close, pair: PairFunction, pushes: Float[Tensor, "*b n d"]
) -> Float[Tensor, "*b"]:
    """Σ f over the close pairs of a tile; adds their forces on unit vectors, a bounded number of rows at a time."""
    *stack, n, d = w.shape
    rows, pushed = w.reshape(-1, d), pushes.view(-1, d)
    energies = []
    places = *_rows_of_all(tile, close, n), close.counts
    for i, j, counts in zip(*(torch.split(place, max(1, AT_ONCE // d)) for place in places), strict=True):
        pairs = gap(rows[i], rows[j])
        f, slope = energy_and_slope(pairs, pair)
        energies.append(torch.where(counts, f, 0))
        on_i, on_j = forces(pairs, torch.where(counts, slope, 0))
        pushed.index_add_(0, i, on_i.to(pushed.dtype)).index_add_(0, j, on_j.to(pushed.dtype))
    return torch.cat(energies).view(*stack, -1).sum(dim=-1)


def _rows_of_all(tile: Tile, close: Close, n: int) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """The two rows of each close pair, numbered through a stack of matrices with n rows each."""
    rows = tile.rows.stop - tile.rows.start
    before = close.i // rows * n
    return close.i % rows + before + tile.rows.start, close.j + before + tile.columns.start


def _product(factor: Tensor, matrix: Tensor, weights: Tensor, pushes: Tensor | None) -> tuple[Tensor]:
    factor = factor[..., None, None]
    gradient = ((matrix * factor).to(weights.dtype) @ weights).to(matrix.dtype)
    return (gradient if pushes is None else gradient.addcmul_(pushes, factor),)


def _scaled(factor: Tensor, gradient: Tensor) -> tuple[Tensor]:
    return (gradient * factor[..., None, None],)


def _nothing(_: Tensor) -> tuple[None]:
    return (None,)


def _unused(_tile: Tile, _g: Tensor, _slope: Tensor) -> None:
    """Do nothing: no gradient is needed."""
