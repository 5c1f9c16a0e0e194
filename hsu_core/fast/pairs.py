"""What are the energy and the force of a pair of points? The functions f and f′ of the pair's cosine.

Knows numbers per pair: g = uᵢ·uⱼ, the squared distance q = 2 − 2g to the other point, and q̄ = 2 + 2g = 4 − q to its
mirror image. Knows no rows, no tiles, no means. A slope is always f′(g), by the cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

Valued = tuple[Tensor, Tensor]
"""f and f′(g), entry by entry."""

Kernel = Callable[[Tensor, Tensor], Valued]
"""From (q, q̄) to (f, f′): both are given, since either may be too small to be computed as 4 minus the other."""

CORE = 1e-6
"""Distance below which an energy follows its tangent in q: finite, continuously differentiable, still repelling. So
points that coincide have the energy (1 + s/2)·CORE⁻ˢ (Euclidean, full space), and no force, for lack of a direction."""

LARGEST_FORCE = 1e200
"""The core is wider where s > 31, so that CORE^−(s+2), the order of a force, stays within float64."""

KINK = 1e-30
"""Squared distance to an antipode below which the kink of the angle is rounded off, so that no slope is infinite."""


class PairFunction(NamedTuple):
    """One energy of a pair, as a function of the cosine and of the distances."""

    of_cosine: Callable[[Tensor], Valued]
    """For cosines away from ±1, in any precision."""
    of_distances: Kernel
    """For any pair whose smaller distance is exact."""
    core: float
    """The smallest squared distance to a point for `of_distances`."""
    mirror_core: float
    """The same to a mirror image; there the energy has no pole in full space, but an angle has a kink."""
    antipodal: float
    """The energy of one pair (x, −x): f at distance 2, without mirror images."""


def pair_function(s: float, *, angular: bool, mirrored: bool) -> PairFunction:
    """ρ⁻ˢ, or −ln ρ for s = 0; ρ is the distance, or the angle in units of π; `mirrored` adds ρ to the mirror image."""
    kernel = _angular(s) if angular else _EUCLIDEAN.get(s, partial(_power, s=s))
    of_distances = partial(_mirrored, kernel) if mirrored else kernel
    of_cosine: Callable[[Tensor], Valued] = partial(_of_cosine, of_distances)
    if not angular:
        of_cosine = _SHORT_FORMS.get((s, mirrored), of_cosine)
    rho = 1.0 if angular else 2.0
    antipodal = -math.log(rho) if s == 0 else rho**-s
    core = max(CORE, LARGEST_FORCE ** (-1 / (s + 2))) ** 2
    return PairFunction(of_cosine, of_distances, core, core if mirrored else KINK, antipodal)


def _logarithmic(q: Tensor, _: Tensor) -> Valued:
    """−½ ln q; its slope 1/q."""
    return q.log().mul_(-0.5), q.reciprocal()


def _inverse(q: Tensor, _: Tensor) -> Valued:
    """q^−½; its slope q^−³ᐟ²."""
    inverse = q.rsqrt()
    return inverse, inverse.square().mul_(inverse)


def _inverse_square(q: Tensor, _: Tensor) -> Valued:
    """1/q; its slope 2/q²."""
    inverse = q.reciprocal()
    return inverse, inverse.square().mul_(2)


def _power(q: Tensor, _: Tensor, *, s: float) -> Valued:
    """q^−ˢᐟ²; its slope s·q^(−ˢᐟ² − 1)."""
    power = q.pow(-s / 2)
    return power, (power / q).mul_(s)


def _angular(s: float) -> Kernel:
    """θ⁻ˢ or −ln θ of θ = (2/π) atan(√(q/q̄)), which is arccos(g)/π; its slope −(2/π)(d/dθ)/√(q·q̄)."""

    def kernel(q: Tensor, mirror: Tensor) -> Valued:
        product = q * mirror
        steepness = product.rsqrt()
        theta = torch.atan2(q, product.mul_(steepness)).mul_(2 / math.pi)
        if s == 0:
            return theta.log().neg_(), steepness.mul_(2 / math.pi).div_(theta)
        power = theta.reciprocal() if s == 1 else theta.pow(-s)
        return power, steepness.mul_(2 * s / math.pi).mul_(power).div_(theta)

    return kernel


def _mirrored(kernel: Kernel, q: Tensor, mirror: Tensor) -> Valued:
    """The sum of f at the point and f at its mirror image, for which the cosine changes its sign."""
    point, slope = kernel(q, mirror)
    image, opposite = kernel(mirror, q)
    return point.add_(image), slope.sub_(opposite)


def _of_cosine(kernel: Kernel, g: Tensor) -> Valued:
    """The same as a function of g, where 2 − 2g is precise enough."""
    q = torch.mul(g, -2).add_(2)
    return kernel(q, 4 - q)


def _inverse_square_of_cosine(g: Tensor) -> Valued:
    """1/q = ½/(1 − g); its slope ½/(1 − g)²."""
    inverse = (1 - g).reciprocal_()
    slope = inverse.square().mul_(0.5)
    return inverse.mul_(0.5), slope


def _mirrored_logarithmic(g: Tensor) -> Valued:
    """−½ ln(q·q̄) = −½ ln(4 − 4g²); its slope g/(1 − g²)."""
    rest = 1 - g.square()
    slope = g / rest
    return rest.mul_(4).log_().mul_(-0.5), slope


def _mirrored_inverse_square(g: Tensor) -> Valued:
    """1/q + 1/q̄ = 1/(1 − g²); its slope 2g/(1 − g²)²."""
    squared = g.square()
    inverse = torch.sub(1, squared, out=squared).reciprocal_()
    return inverse, inverse.square().mul_(g).mul_(2)


_EUCLIDEAN: dict[float, Kernel] = {0.0: _logarithmic, 1.0: _inverse, 2.0: _inverse_square}
_SHORT_FORMS: dict[tuple[float, bool], Callable[[Tensor], Valued]] = {
    (2.0, False): _inverse_square_of_cosine,
    (0.0, True): _mirrored_logarithmic,
    (2.0, True): _mirrored_inverse_square,
}
