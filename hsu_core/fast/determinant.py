"""How much volume do the points span? The log-determinant of a kernel matrix, from n×n Cholesky factors in float64.

Knows the rows of one matrix, or of each matrix of a stack. In half space the kernel of the doubled set is
[[A, B], [B, A]], with the determinant of A + B times that of A − B: two matrices of n rows instead of one of 2n.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.fast.closed_form import Evaluated, closed_form
from hsu_core.fast.directions import Directions, computable, directions, may_look
from hsu_core.fast.gram import LIMIT, diagonal, gram_of_weights

RIDGE = 1e-6
"""Added to the diagonal of the kernel, as the authors do."""

WELL_CONDITIONED = 10.0
"""Largest entry of an inverse for which cosines in float32 are precise enough: gradients are then correct to 1e-6."""


def gram_determinant(w: Float[Tensor, "*b n d"], *, half_space: bool = False) -> Float[Tensor, "*b"]:
    """The log-determinant ln det(K + 10⁻⁶ I) with Kᵢⱼ = exp(−‖xᵢ − xⱼ‖²). Larger is more uniform.

    Liu et al. 2021 (arXiv 2103.01649), maximum Gram determinant with ε = 1.
    """
    return closed_form(partial(_evaluate, half_space=half_space), computable(w))


def _evaluate(w: Float[Tensor, "*b n d"], *, wanted: tuple[bool, ...], half_space: bool) -> Evaluated:
    value, slope, g, at = _precisely(w, half_space=half_space)
    if not any(wanted):
        return value.to(w.dtype), _nothing, ()
    matrix = _by_weights(slope, g, at)
    if w.shape[-2] <= w.shape[-1]:
        return value.to(w.dtype), _product, (matrix, at.rows, w)
    return value.to(w.dtype), _scaled, ((matrix @ at.rows).to(w.dtype),)


def _precisely(w: Tensor, *, half_space: bool) -> tuple[Tensor, Tensor, Tensor, Directions]:
    """The value, its slope, the cosines and the directions: products in float32 if that is enough, else in float64.

    The inverse shows whether it is enough. If its values must not be read, float64 is always used.
    """
    if w.dtype == torch.float32 and may_look(w) and len(w) <= w.shape[1]:
        at = directions(w)
        g = gram_of_weights(at).whole()
        if g.amax().item() < LIMIT[w.dtype] and g.amin().item() > -LIMIT[w.dtype]:
            value, slope, largest = _log_determinant(g.double(), half_space=half_space)
            if largest.item() < WELL_CONDITIONED:
                return value, slope, g, at
    at = directions(w.double())
    g = gram_of_weights(at).whole()
    value, slope, _ = _log_determinant(g, half_space=half_space)
    return value, slope, g, at


def _log_determinant(g: Float[Tensor, "*b n n"], *, half_space: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The value, its derivative by each cosine (of both gᵢⱼ and gⱼᵢ together), and the largest entry of an inverse.

    A = exp(2g − 2), B = exp(−2g − 2): d ln det(K) = tr(K⁻¹ dK), so that the slope is 4 K⁻¹∘A in full space, and
    4 (A+B)⁻¹∘(A−B) + 4 (A−B)⁻¹∘(A+B) in half space.
    """
    near = torch.exp(2 * g - 2)
    diagonal(near).fill_(1)
    if not half_space:
        value, inverse = _value_and_inverse(near)
        return value, 4 * inverse * near, diagonal(inverse).amax()
    far = math.exp(-4) / near
    total, difference = near + far, near - far
    value, inverse = _value_and_inverse(total)
    other, opposite = _value_and_inverse(difference)
    slope = (inverse * difference).addcmul_(opposite, total).mul_(4)
    return value + other, slope, torch.maximum(diagonal(inverse).amax(), diagonal(opposite).amax())


def _value_and_inverse(kernel: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b n n"]]:
    """The log-determinant of K + 10⁻⁶ I (K is changed in place) and its inverse; NaN for a matrix with a NaN.

    `cholesky` raises for a NaN, and `cholesky_inverse` checks for errors: both make the host wait for a GPU.
    """
    diagonal(kernel).add_(RIDGE)
    factor, _ = torch.linalg.cholesky_ex(kernel)
    if may_look(kernel):
        inverse = torch.cholesky_inverse(factor)
    else:
        identity = torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
        root = torch.linalg.solve_triangular(factor, identity, upper=False)
        inverse = root.mT @ root
    return 2 * diagonal(factor).log().sum(dim=-1), inverse


def _by_weights(slope: Tensor, g: Tensor, at: Directions) -> Float[Tensor, "*b n n"]:
    """The matrix that gives the gradient from the rows: leverᵢ (Dᵢⱼ − δᵢⱼ Σₖ Dᵢₖ gᵢₖ) scaleⱼ with D the slope."""
    matrix = slope.to(g.dtype)
    diagonal(matrix).zero_()
    diagonal(matrix).copy_((matrix * g).sum(dim=-1).neg_())
    return matrix.mul_(at.scale[..., None, :]).mul_(at.lever[..., None])


def _product(factor: Tensor, matrix: Tensor, rows: Tensor, w: Tensor) -> tuple[Tensor]:
    return ((matrix * factor[..., None, None] @ rows).to(w.dtype),)


def _scaled(factor: Tensor, gradient: Tensor) -> tuple[Tensor]:
    return (gradient * factor[..., None, None],)


def _nothing(_: Tensor) -> tuple[None]:
    return (None,)
