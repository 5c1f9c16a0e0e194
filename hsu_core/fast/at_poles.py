"""How far are the points from a pole, and where is their sum? A few cosines per row, never a Gram matrix.

Knows rows and poles, both of any length. There are few poles: one (d,) or m of them (m, d); m for each matrix of a
stack (b, m, d).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.fast.closed_form import Evaluated, closed_form
from hsu_core.fast.directions import computable, directions
from hsu_core.fast.gram import LIMIT
from hsu_core.fast.nearly_parallel import Close, Gap, close_pairs, energy_and_slope, forces, gap
from hsu_core.fast.pairs import pair_function

Measured = tuple[Tensor, Tensor, Tensor | None]
"""The value at each pole, its slopes by every cosine (zero for close pairs), and by every close pair's cosine."""

Measure = Callable[[Tensor, Close | None, Gap | None], Measured]
"""An energy of the cosines of m poles and n points, some of which are close pairs with a known gap."""


def polarization(
    w: Float[Tensor, "*b n d"], poles: Float[Tensor, "*m d"], *, half_space: bool = False
) -> Float[Tensor, "*m"]:
    """Mean over i of ‖v − xᵢ‖⁻² for each pole v = poles/‖poles‖, one value for each. Half space: over ±xᵢ.

    A pole on a point: see `pairs.CORE`. Liu et al. 2021 (arXiv 2103.01649), maximum hyperspherical polarization, s = 2.
    """
    return _at_poles(w, poles, partial(_polarization, half_space=half_space))


def covering(
    w: Float[Tensor, "*b n d"], poles: Float[Tensor, "*m d"], *, gamma: float = 10.0, half_space: bool = False
) -> Float[Tensor, "*m"]:
    """Soft minimum −(1/γ) ln meanᵢ exp(−γ ‖v − xᵢ‖²) for each pole v = poles/‖poles‖. Half space: over ±xᵢ.

    Liu et al. 2021 (arXiv 2103.01649), minimum hyperspherical covering: the pole maximises, w minimises.
    """
    return _at_poles(w, poles, partial(_covering, gamma=gamma, half_space=half_space))


def resultant(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """‖Σᵢ wᵢ‖ of the raw weights, so in their unit and not invariant to their lengths; the gradient at 0 is 0.

    Liu et al. 2021 (arXiv 2103.01649), relaxed maximum hyperspherical polarization.
    """
    return closed_form(_resultant, computable(w))


def _at_poles(w: Tensor, poles: Tensor, measure: Measure) -> Tensor:
    w = computable(w)
    *stack, _, d = w.shape
    matrix = poles.expand(*stack, 1, -1) if poles.ndim == 1 else poles
    if [*matrix.shape[:-2], matrix.shape[-1]] != [*stack, d] or poles.numel() == 0:
        raise ValueError(f"expected one pole or a matrix of poles in {d} dimensions, found {tuple(poles.shape)}")
    values = closed_form(partial(_evaluate, measure=measure), w, matrix.to(w.dtype))
    return values if matrix is poles else values[..., 0]


def _evaluate(
    w: Float[Tensor, "*b n d"], poles: Float[Tensor, "*b m d"], *, wanted: tuple[bool, ...], measure: Measure
) -> Evaluated:
    at, of = directions(w), directions(poles)
    v = of.units
    g = (v @ at.rows.mT).mul_(at.scale[..., None, :])
    close = close_pairs(g, LIMIT[w.dtype], square=0)
    n, d = w.shape[-2:]
    pairs: Gap | None = None
    pushes: tuple[Tensor, ...] = ()
    if close is not None:
        k, i = close.i, close.j + close.i // poles.shape[-2] * n
        pairs = gap(poles.reshape(-1, d)[k], w.reshape(-1, d)[i])
    value, slope, exact = measure(g, close, pairs)
    if close is not None and pairs is not None and exact is not None:
        on_pole, on_point = (push.to(w.dtype) for push in forces(pairs, torch.where(close.counts, exact, 0)))
        pushes = k, i, on_pole * of.lever.flatten()[k, None], on_point * at.lever.flatten()[i, None]
    saved = slope, slope * g, at.rows, at.scale, at.lever, v, of.lever
    return value, partial(_gradient, wanted=wanted), (*saved, *pushes)


def _gradient(
    factor: Float[Tensor, "*b m"],
    slope: Float[Tensor, "*b m n"],
    moment: Float[Tensor, "*b m n"],
    rows: Float[Tensor, "*b n d"],
    scale: Float[Tensor, "*b n"],
    lever: Float[Tensor, "*b n"],
    v: Float[Tensor, "*b m d"],
    pole_lever: Float[Tensor, "*b m"],
    *pushes: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """By wᵢ: leverᵢ Σₖ cₖ f′(gₖᵢ)(vₖ − gₖᵢ uᵢ), and by pole k the same with v and u exchanged."""
    slope, moment = slope * factor[..., None], moment * factor[..., None]
    by_points = by_poles = None
    if wanted[0]:
        toward = (slope * lever[..., None, :]).mT
        by_points = toward * v if v.shape[-2] == 1 else toward @ v  # a product with one column is slow
        by_points.addcmul_(rows, (moment.sum(dim=-2) * lever * scale)[..., None], value=-1)
    if wanted[1]:
        by_poles = (slope * scale[..., None, :] @ rows).addcmul_(v, moment.sum(dim=-1)[..., None], value=-1)
        by_poles.mul_(pole_lever[..., None])
    if pushes:
        k, i, on_pole, on_point = pushes
        for gradient, places, push in ((by_points, i, on_point), (by_poles, k, on_pole)):
            if gradient is not None:
                gradient.view(-1, rows.shape[-1]).index_add_(0, places, push * factor.flatten()[k, None])
    return by_points, by_poles


def _polarization(g: Tensor, close: Close | None, pairs: Gap | None, *, half_space: bool) -> Measured:
    """Mean of 1/(2 − 2g), and of 1/(2 + 2g) in half space."""
    count = g.shape[-1] * (2 if half_space else 1)
    pair = pair_function(2.0, angular=False, mirrored=half_space)
    if close is None or pairs is None:
        f, slope = pair.of_cosine(g)
        return f.sum(dim=-1) / count, slope / count, None
    f, slope = pair.of_cosine(g.masked_fill(close.mask, 0))
    energy, exact = energy_and_slope(pairs, pair)
    total = f.masked_fill_(close.mask, 0).sum(dim=-1)
    total.view(-1).index_add_(0, close.i, torch.where(close.counts, energy, 0).to(g.dtype))
    return total / count, slope.masked_fill_(close.mask, 0) / count, exact / count


def _covering(g: Tensor, close: Close | None, pairs: Gap | None, *, gamma: float, half_space: bool) -> Measured:
    """(ln count − ln Σ exp(−γ(2 ∓ 2g)))/γ; its slope by the squared distances is their softmax."""
    squared = 2 - 2 * g.double()  # the logarithms below nearly cancel where a pole meets a point
    if close is not None and pairs is not None:
        exact = torch.where(pairs.sign > 0, pairs.squared, 4 - pairs.squared)
        of_all = squared.view(-1, squared.shape[-1])
        of_all[close.i, close.j] = torch.where(close.counts, exact, of_all[close.i, close.j])
    exponents = -gamma * (torch.cat([squared, 4 - squared], dim=-1) if half_space else squared)
    value = ((math.log(exponents.shape[-1]) - torch.logsumexp(exponents, dim=-1)) / gamma).to(g.dtype)
    share = torch.softmax(exponents, dim=-1)
    slope = -2 * share
    if half_space:
        points, images = share.chunk(2, dim=-1)
        slope = 2 * (images - points)
    if close is None:
        return value, slope.to(g.dtype), None
    return value, slope.masked_fill(close.mask, 0).to(g.dtype), slope.view(-1, g.shape[-1])[close.i, close.j]


def _resultant(w: Float[Tensor, "*b n d"], **_: object) -> Evaluated:
    total = w.sum(dim=-2, dtype=torch.float64)
    length = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
    direction = torch.where(length == 0, 0, total / length).to(w.dtype)
    return length.squeeze(-1).to(w.dtype), _every_row, (direction, w)


def _every_row(factor: Tensor, direction: Tensor, w: Tensor) -> tuple[Tensor]:
    return ((direction * factor[..., None])[..., None, :].expand_as(w),)
