"""How are points optimised for a smooth energy? Riesz energies of every exponent, and the Gram determinant.

Knows batches of starts. Knows no objectives by name, and does not choose the best start.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hsu_core.sphere import levels
from hsu_core.sphere.descent import Potential, descend

AT_REST = 1e-8
"""The force, relative to forces of size 1, below which a value has all its digits: its error is the force squared."""
COMPLETE = 1e-15
"""The force at which only rounding is left: the points themselves have all their digits."""
SOFTENINGS = (0.3, 0.03, 0.003)


def spread(
    x: Float[Tensor, "b n d"], s: float, *, angular: bool = False, half_space: bool = False
) -> Float[Tensor, "b n d"]:
    """Descend on the Riesz energy. Smaller s come before a large s: there, at first only the nearest pair counts.

    In full space the angle has a kink at antipodal pairs, and many optima are at such pairs: see `_tie_antipodes`.
    """
    kinks = angular and not half_space

    def potential(exponent: float, softening: float = 0.0) -> Potential:
        measure, weights = levels.pairs(
            x.shape[1], angular=angular, half_space=half_space, softening=softening if kinks else 0.0
        )
        return levels.soft_minimum(measure, exponent, weights)

    exponent = 4.0
    while exponent < s:
        x = descend(potential(exponent, SOFTENINGS[0]), x, steps=200, tolerance=1e-4)
        exponent *= 4
    for softening in SOFTENINGS if kinks else ():
        x = descend(potential(s, softening), x, steps=300, tolerance=1e-6)
    if kinks:
        x = _tie_antipodes(potential(s), x)
    x = descend(potential(s), x, tolerance=AT_REST)
    return _complete(potential(s), x)


def enlarge(x: Float[Tensor, "b n d"], *, half_space: bool = False) -> Float[Tensor, "b n d"]:
    """Ascend on the Gram determinant."""

    def mirrored(half: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = levels.gram_determinant(torch.cat([half, -half], dim=1))
        n = half.shape[1]
        return value, gradient[:, :n] - gradient[:, n:]

    potential = mirrored if half_space else levels.gram_determinant
    return _complete(potential, descend(potential, x, tolerance=AT_REST))


def _complete(potential: Potential, x: Tensor) -> Tensor:
    """Optimise the best start to its last digit."""
    best = int(potential(x)[0].argmin())
    x[best : best + 1] = descend(potential, x[best : best + 1], steps=200, tolerance=COMPLETE)
    return x


def _tie_antipodes(potential: Potential, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Descend with nearly antipodal pairs kept exactly antipodal, where that is better; other starts do not change.

    At such a pair the energy is like a cone, where no gradient method converges; so the pair moves as one point.
    """
    owner, sign = _owners(x, within=10 * SOFTENINGS[-1])

    def tied(free: Tensor) -> Tensor:
        return sign[..., None] * free.gather(1, owner[..., None].expand_as(free))

    def on_owners(free: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = potential(tied(free))
        pulled = torch.zeros_like(free).scatter_add_(1, owner[..., None].expand_as(free), sign[..., None] * gradient)
        return value, pulled

    together = tied(descend(on_owners, x, tolerance=AT_REST))
    better = potential(together)[0] < potential(x)[0]
    return torch.where(better[:, None, None], together, x)


def _owners(x: Float[Tensor, "b n d"], *, within: float) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
    """For each point, the point that it moves with, and the sign: itself and +, or the first of its pair and −."""
    opposite_cosine, opposite = (x @ x.mT).min(dim=2)
    self = torch.arange(x.shape[1]).expand_as(opposite)
    mutual: Bool[Tensor, "b n"] = opposite.gather(1, opposite) == self
    second = mutual & (opposite < self) & (opposite_cosine < -math.cos(within))
    return torch.where(second, opposite, self), torch.where(second, -1.0, 1.0).to(x.dtype)
