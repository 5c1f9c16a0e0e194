"""Which quantities does a search of points maximise? The soft minimum of so-called levels.

Almost the whole family is one soft minimum, −(1/β) ln Σ pₖ exp(−β Lₖ), of quantities Lₖ(x) that should be large:
- the ln-distances of the pairs. β = s gives the Riesz energy E as −ln(E)/s, β = 0 the logarithmic energy, β → ∞ Tammes;
- minus the ln-radii of the holes above the hull's facets (β → ∞: covering);
- the ln-potentials at the poles that are local minima (β → ∞: polarization).

Knows how to compute levels and their gradients, for all starts at once. Knows no schedule of β. The Gram determinant is
the only objective of another form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hsu_core.sphere.descent import Potential, unit
from hsu_core.sphere.interruption import breathe


class Levels(NamedTuple):
    """K levels of each of b configurations."""

    values: Float[Tensor, "b K"]
    pull: Callable[[Tensor], Tensor]
    """From (b, K) weights to the (b, n, d) gradient of the weighted sum of the levels."""


Measuring = Callable[[Tensor], Levels]


def soft_minimum(
    measure: Measuring, sharpness: float | Float[Tensor, " b"], log_weights: Float[Tensor, "#b K"] | None = None
) -> Potential:
    """The potential −n · soft minimum: descending on it raises the lowest levels, more so for a larger sharpness.

    Weights need not sum to 1, and are equal by default; a tensor of sharpnesses, one for each start, must be ≥ 1. The
    factor n makes the force on a point the same size for any n.
    """

    def potential(x: Tensor) -> tuple[Tensor, Tensor]:
        levels, n = measure(x), x.shape[1]
        weights = levels.values.new_zeros(1, levels.values.shape[1]) if log_weights is None else log_weights
        value, shares = _soft_minimum(levels.values, torch.log_softmax(weights, dim=1), sharpness)
        return -n * value, -n * levels.pull(shares)

    return potential


def pairs(
    n: int, *, angular: bool = False, half_space: bool = False, softening: float = 0.0
) -> tuple[Measuring, Float[Tensor, "1 K"]]:
    """The ln-distances of all ordered pairs, and the log-weights that exclude each point with itself.

    ln‖xᵢ − xⱼ‖, or with `angular` ln(θ/π) of the angle θ. In half space the levels are of ±xᵢ with xⱼ, including xᵢ
    with −xᵢ. θ has a kink where two points are antipodal: `softening` rounds it within about that distance of the
    antipode.
    """
    weights = torch.zeros(n, n, dtype=torch.float64).fill_diagonal_(-torch.inf).reshape(1, -1)
    if half_space:
        weights = torch.cat([weights, torch.zeros_like(weights)], dim=1)

    def measure(x: Tensor) -> Levels:
        cosines = x @ x.mT
        if half_space:
            cosines = torch.cat([cosines, -cosines], dim=1)
        squares = (2 - 2 * cosines).clamp(min=1e-30)
        squares.diagonal(dim1=1, dim2=2).fill_(1)  # the point with itself: any finite level, since its weight is 0
        level, slope = _angles(squares, softening) if angular else (0.5 * squares.log(), -1 / squares)

        def pull(shares: Tensor) -> Tensor:
            forces = shares.reshape(squares.shape) * slope
            if half_space:
                forces = forces[:, :n] - forces[:, n:]
            return 2 * forces @ x

        return Levels(level.flatten(1), pull)

    return measure, weights


def facets(corners: Int[Tensor, "b K d"], seen_from: Float[Tensor, "b n d"]) -> Measuring:
    """−ln of the radius (as a distance) of the hole above each facet: the cap that passes through its d corners.

    `seen_from` is the configuration around the origin to which the facets belong. The lowest level of any triangulation
    is at most that of the hull. So if a move raises it, the hull need not be computed again. If a move shifts a facet
    past the origin, its hole is larger than 90°.
    """
    b, count, d = corners.shape
    rows = corners.reshape(b, -1, 1).expand(-1, -1, d)

    def factors(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The LU factors of each facet's corners, and the side of it on which the origin is."""
        lu, pivots, _ = torch.linalg.lu_factor_ex(x.gather(1, rows).reshape(b, count, d, d))
        swaps = (pivots != torch.arange(1, d + 1)).sum(2)
        side = lu.diagonal(dim1=2, dim2=3).sign().prod(2) * (1 - 2 * (swaps % 2))
        return lu, pivots, side

    inside = factors(seen_from)[2]

    def measure(x: Tensor) -> Levels:
        lu, pivots, side = factors(x)
        # y·xᵢ = 1 at the corners: ±y/‖y‖ is the cap's pole and ±1/‖y‖ its cosine, with the gradient ±‖y‖⁻³ μᵢ y in xᵢ.
        y = torch.linalg.lu_solve(lu, pivots, x.new_ones(b, count, d, 1))
        mu = torch.linalg.lu_solve(lu, pivots, y, adjoint=True)
        cosine = inside * side / torch.linalg.vector_norm(y, dim=(2, 3))
        squares = (2 - 2 * cosine).clamp(min=1e-30)

        def pull(shares: Tensor) -> Tensor:
            forces = (shares * cosine**3 / squares)[:, :, None, None] * mu * y.mT
            return torch.zeros_like(x).scatter_add_(1, rows, forces.reshape(b, -1, d))

        return Levels(-0.5 * squares.log(), pull)

    return measure


def potentials_at(poles: Float[Tensor, "b K d"], responses: Float[Tensor, "b K d d"] | None = None) -> Measuring:
    """The ln of the mean of ‖v − xᵢ‖⁻² at poles v, which are fixed or follow their minima as the points move slightly.

    They follow by two steps of Newton's method with the inverse Hessians (`responses`) that `settle` found. The
    gradient is that at fixed poles, since at a minimum over the pole a small move of the pole changes nothing.
    """

    def measure(x: Tensor) -> Levels:
        v = poles
        for inverse_hessian in () if responses is None else (responses, responses):
            v = _step(v, (inverse_hessian @ _slope(v, x)[2][..., None])[..., 0], among=x.shape[1])
        squares = (2 - 2 * v @ x.mT).clamp(min=1e-30)
        mean = squares.reciprocal().mean(dim=2)

        def pull(shares: Tensor) -> Tensor:
            forces = (shares / mean)[:, :, None] * 2 / squares.square() / x.shape[1]
            return forces.mT @ v

        return Levels(mean.log(), pull)

    return measure


class Settled(NamedTuple):
    """Poles at local minima of the potential."""

    poles: Float[Tensor, "b K d"]
    responses: Float[Tensor, "b K d d"]
    """The inverse Hessian at each, on the tangent space."""
    arrived: Bool[Tensor, "b K"]
    """Which poles have reached a minimum."""


def settle(poles: Float[Tensor, "b K d"], x: Float[Tensor, "b n d"], *, steps: int) -> Settled:
    """The poles moved to the nearby minimum of mean ‖v − xᵢ‖⁻² by Newton's method on the sphere.

    Where the Hessian is not positive definite the pole follows the gradient instead.
    """
    (_, n, d), identity = x.shape, torch.eye(x.shape[2], dtype=x.dtype)
    outer = (x[..., :, None] * x[..., None, :]).flatten(2)
    for _ in range(steps):
        breathe()
        squares, radial, gradient = _slope(poles, x)
        along = poles[..., None] * poles[..., None, :]
        onto = identity - along
        curvature = (8 / squares**3 / n @ outer).reshape(*poles.shape, d)
        # The Hessian on the tangent space and the identity along the pole, so that the matrix has a factor.
        factor, info = torch.linalg.cholesky_ex(onto @ curvature @ onto - radial[..., None] * onto + along)
        convex = info == 0
        newton = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        move = torch.where(convex[..., None], newton, gradient / radial.abs())
        poles = _step(poles, move, among=n)
        # The potential's error is the square of the remaining distance, and this step has squared the distance again.
        arrived = convex & (torch.linalg.vector_norm(move, dim=2) < 1e-6)
        if bool(arrived.all()):
            break
    responses = onto @ torch.cholesky_inverse(torch.where(convex[..., None, None], factor, identity)) @ onto
    return Settled(poles, responses, arrived)


def _slope(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For mean ‖v − xᵢ‖⁻²: the squared distances, and the gradient's parts along v and on the tangent space."""
    squares = (2 - 2 * v @ x.mT).clamp(min=1e-30)
    euclidean = 2 / squares.square() @ x / x.shape[1]
    radial = (euclidean * v).sum(2, keepdim=True)
    return squares, radial, euclidean - radial * v


def _step(v: Tensor, move: Tensor, *, among: int) -> Tensor:
    """The poles moved against `move`, by at most a third of the distance of neighbours among the points."""
    reach = 0.3 * among ** (-1 / max(v.shape[2] - 1, 1))
    length = torch.linalg.vector_norm(move, dim=2, keepdim=True)
    return unit(v - move * (reach / length.clamp(min=1e-300)).clamp(max=1))


def gram_determinant(x: Float[Tensor, "b m d"]) -> tuple[Float[Tensor, " b"], Float[Tensor, "b m d"]]:
    """The potential −ln det(exp(−‖xᵢ − xⱼ‖²) + 10⁻⁶ I)."""
    kernel = torch.exp(2 * x @ x.mT - 2)
    kernel.diagonal(dim1=1, dim2=2).fill_(1)
    factor = torch.linalg.cholesky(kernel + 1e-6 * torch.eye(x.shape[1], dtype=x.dtype))
    forces = torch.cholesky_inverse(factor) * kernel
    forces.diagonal(dim1=1, dim2=2).fill_(0)
    return -2 * factor.diagonal(dim1=1, dim2=2).log().sum(1), -4 * forces @ x


def mirrored(measure: Measuring) -> Measuring:
    """The levels of {xᵢ} ∪ {−xᵢ} as levels of x: half space for a measure that exists only in full space."""

    def of_half(x: Tensor) -> Levels:
        n, (values, pull) = x.shape[1], measure(torch.cat([x, -x], dim=1))

        def pull_half(shares: Tensor) -> Tensor:
            gradient = pull(shares)
            return gradient[:, :n] - gradient[:, n:]

        return Levels(values, pull_half)

    return of_half


def _soft_minimum(levels: Tensor, log_p: Tensor, sharpness: float | Tensor) -> tuple[Tensor, Tensor]:
    """−(1/β) ln Σ pₖ exp(−β Lₖ), (b,), and each level's share in its gradient, (b, K); for β = 0 the mean."""
    if isinstance(sharpness, float) and sharpness == 0:
        p = log_p.exp()
        return (p * levels).sum(1), p.expand_as(levels)
    beta = sharpness[:, None] if isinstance(sharpness, Tensor) else sharpness
    tilted = log_p - beta * levels
    top = tilted.amax(1, keepdim=True)
    shares = (tilted - top).exp_()
    total = shares.sum(1, keepdim=True)
    if isinstance(sharpness, float) and sharpness < 1:
        # The logarithm of a sum near 1 would lose digits that the division by β makes significant.
        return -torch.log1p((log_p.exp() * torch.expm1(-beta * levels)).sum(1)) / sharpness, shares / total
    return -(top + total.log())[:, 0] / sharpness, shares / total


def _angles(squares: Tensor, softening: float) -> tuple[Tensor, Tensor]:
    """ln(θ/π) from the squared distance, θ = 2 atan2(√u, √(4 − u + δ²)), and its derivative by the cosine."""
    # Values below 10⁻¹³ are rounding errors at an exact antipode; the root would make noise of 10⁻⁷ from them.
    apart, together = squares.sqrt(), torch.relu(4 - squares - 1e-13).add(softening**2).sqrt()
    theta = 2 * torch.atan2(apart, together)
    # At an exact antipode the true derivative is infinite, in a direction in which the tied pair cannot move.
    slope = torch.where(together > 1e-6, -2 / (apart * together * theta), 0)
    return (theta / torch.pi).log(), slope
