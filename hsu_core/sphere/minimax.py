"""How are the worst pair, the largest hole and the weakest pole improved? For separation, covering and polarization.

The first method is a soft minimum of levels with increasing sharpness. The second is the exponential method of
multipliers (Tseng and Bertsekas 1993): each level's share of the force becomes its weight in the next round. At a fixed
sharpness the rounds converge to the minimax configuration itself, up to rounding. Active constraints need not be known.

Knows batches of starts. Knows no objectives by name, and does not choose the best start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hsu_core.sphere import levels
from hsu_core.sphere.descent import descend, unit
from hsu_core.sphere.energy import spread
from hsu_core.sphere.worst_pole import facets_of, in_half_sphere, random_poles

FEW_ROUNDS, MANY_ROUNDS = 8, 24
FINALISTS = 12
"""Starts that are optimised fully, each from another basin."""
LEAST_LOG_WEIGHT = -60.0
PATIENCE = 3
"""Rounds without progress after which the method stops."""
ROUNDING = 1e-14


class Seen(NamedTuple):
    """The levels that matter around a configuration."""

    measure: levels.Measuring
    log_weights: Float[Tensor, "#b K"]
    corners: Int[Tensor, "b K d"] | None = None
    """Identifies the levels, where they change with the points."""


Looking = Callable[[Tensor], Seen]


def separate(x: Float[Tensor, "b n d"], *, half_space: bool = False) -> Float[Tensor, "b n d"]:
    """Move the closest pair apart. The best starts of different basins are optimised fully.

    The starts begin with different exponents, because not every optimum of Tammes' problem can be reached from the
    optimum of a low exponent (14 points on S²).
    """
    measure, weights = levels.pairs(x.shape[1], half_space=half_space)
    seen = Seen(measure, weights)
    entry = 4.0 ** (1 + torch.arange(len(x), dtype=x.dtype) % 4)
    for sharpness in (4.0, 16.0, 64.0, 256.0, 1024.0):
        potential = levels.soft_minimum(measure, entry.clamp(min=sharpness), weights)
        x = descend(potential, x, steps=200, tolerance=1e-4)
    best = _different(potential(x)[0], by=1e-6)
    hardened = x[best]
    for sharpness in (4096.0, 16384.0):
        hardened = descend(levels.soft_minimum(measure, sharpness, weights), hardened, steps=200, tolerance=1e-6)
    leading = _different(levels.soft_minimum(measure, 16384.0, weights)(hardened)[0], by=0.0)[: FINALISTS // 4]
    hardened[leading] = _equalise(hardened[leading], lambda _: seen, sharpness=16384.0, rounds=FEW_ROUNDS)
    x[best] = hardened
    return x


def shrink_holes(x: Float[Tensor, "b n d"], *, half_space: bool = False) -> Float[Tensor, "b n d"]:
    """Shrink the largest hole."""
    return _fill(x, _facets_seen, _facets_seen, half_space=half_space)


def raise_poles(x: Float[Tensor, "b n d"], *, half_space: bool = False) -> Float[Tensor, "b n d"]:
    """Raise the least potential of a pole.

    If minima of the potential merge at the optimum (8 points on S²), its value is correct only to about 10⁻⁴: the level
    of a merging minimum is not smooth.
    """
    return _fill(x, _many_poles_seen, _minima_seen, half_space=half_space)


def _fill(x: Tensor, look: Looking, look_closely: Looking, *, half_space: bool) -> Tensor:
    """Raise the lowest levels. The best starts that differ are optimised fully.

    The search begins at Riesz minima, perturbed by up to twice the distance of neighbours so that they differ.
    """
    if half_space:
        look, look_closely = _in_mirror(look), _in_mirror(look_closely)
    x = _shaken(spread(x, 2.0, half_space=half_space), half_space=half_space)
    for sharpness in (4.0, 8.0, 16.0, 32.0, 64.0, 128.0):
        for _ in range(3):
            seen = look(x)
            # A soft minimum of many levels is nearly their mean, which a cluster of points raises without bound.
            harder = sharpness * max(1.0, math.log(seen.log_weights.shape[1]) / 3)
            potential = levels.soft_minimum(seen.measure, harder, seen.log_weights)
            x = _unless_lost(descend(potential, x, steps=15, tolerance=1e-6), x, half_space=half_space)
    seen = look_closely(x)
    best = _different(levels.soft_minimum(seen.measure, 128.0, seen.log_weights)(x)[0], by=1e-5)
    kept = x[best]
    for sharpness in (128.0, 256.0, 512.0, 1024.0):
        kept = _follow(kept, look_closely, sharpness)
    x[best] = _equalise(kept, look_closely, sharpness=2048.0, rounds=MANY_ROUNDS)
    return x


def _facets_seen(x: Float[Tensor, "b m d"]) -> Seen:
    """The holes above the hull's facets."""
    corners, _ = facets_of(x)
    return Seen(levels.facets(corners, x), x.new_zeros(1, corners.shape[1]), corners)


def _minima_seen(x: Float[Tensor, "b m d"]) -> Seen:
    """The local minima of the potential that are near the holes above the hull's facets."""
    corners, above = facets_of(x)
    poles, responses, arrived = levels.settle(above, x, steps=30)
    log_weights = torch.where(arrived, 0.0, -torch.inf).to(x.dtype)
    return Seen(levels.potentials_at(poles, responses), log_weights, corners)


def _many_poles_seen(x: Float[Tensor, "b m d"]) -> Seen:
    """Fixed poles near the minima and over the whole sphere, so that a long descent misses no new minimum."""
    minima = levels.settle(facets_of(x)[1], x, steps=8).poles
    poles = torch.cat([minima, random_poles(8 * x.shape[1], x.shape[2]).expand(len(x), -1, -1)], dim=1)
    return Seen(levels.potentials_at(poles), x.new_zeros(1, poles.shape[1]))


def _in_mirror(look: Looking) -> Looking:
    """Look at {xᵢ} ∪ {−xᵢ}, with levels of x."""

    def mirrored(x: Tensor) -> Seen:
        seen = look(torch.cat([x, -x], dim=1))
        return seen._replace(measure=levels.mirrored(seen.measure))

    return mirrored


def _follow(x: Tensor, look: Looking, sharpness: float) -> Tensor:
    """Short descents at one sharpness. A descent with a worse result used outdated levels, and is undone."""
    for steps in (15, 8, 4):
        seen = look(x)
        moved = descend(levels.soft_minimum(seen.measure, sharpness, seen.log_weights), x, steps=steps, tolerance=1e-6)
        better = _lowest(look(moved), moved) > _lowest(seen, x)
        x = torch.where(better[:, None, None], moved, x)
    return x


def _equalise(x: Float[Tensor, "b n d"], look: Looking, *, sharpness: float, rounds: int) -> Float[Tensor, "b n d"]:
    """Rounds of the exponential method of multipliers; returns for each start the round with the highest lowest level.

    If other levels replace the levels of a start, its weights are reset.
    """
    seen = look(x)
    weights = seen.log_weights
    best, highest, idle = x, _lowest(seen, x), 0
    for _ in range(rounds):
        x = descend(levels.soft_minimum(seen.measure, sharpness, weights), x, steps=100, tolerance=1e-11)
        tilted = weights - sharpness * seen.measure(x).values
        before, seen = seen, look(x)
        weights = seen.log_weights
        if tilted.shape[1] == seen.log_weights.shape[1]:
            carried = (tilted - tilted.amax(1, keepdim=True)).clamp(min=LEAST_LOG_WEIGHT) + seen.log_weights
            weights = torch.where(_same_levels(before, seen)[:, None], carried, seen.log_weights)
        lowest = _lowest(seen, x)
        improved = lowest > highest
        idle = 0 if bool((lowest > highest + ROUNDING).any()) else idle + 1
        best, highest = torch.where(improved[:, None, None], x, best), torch.maximum(lowest, highest)
        if idle == PATIENCE:
            break
    return best


def _same_levels(before: Seen, after: Seen) -> Tensor:
    """Which starts still have the same levels, if their number is the same."""
    if before.corners is None or after.corners is None:
        return torch.ones(1, dtype=torch.bool)
    return (before.corners == after.corners).all(2).all(1)


def _lowest(seen: Seen, x: Tensor) -> Float[Tensor, " b"]:
    return seen.measure(x).values.masked_fill(seen.log_weights.isinf(), torch.inf).amin(1)


def _different(scores: Float[Tensor, " b"], *, by: float) -> Int[Tensor, " k"]:
    """The lowest scores that differ by more than `by`: only one start of each basin continues."""
    order = scores.argsort()
    steps = scores[order].diff(prepend=scores.new_tensor([-torch.inf]))
    return order[steps > by][:FINALISTS]


def _shaken(x: Float[Tensor, "b n d"], *, half_space: bool) -> Float[Tensor, "b n d"]:
    """The starts, perturbed by zero (first) to twice the distance of neighbours (last), but not into a half sphere."""
    b, n, d = x.shape
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(n), dtype=x.dtype)
    strength = 2 * n ** (-1 / (d - 1)) * torch.linspace(0, 1, b, dtype=x.dtype)
    return _unless_lost(unit(x + strength[:, None, None] * noise), x, half_space=half_space)


def _unless_lost(moved: Tensor, x: Tensor, *, half_space: bool) -> Tensor:
    """The moved starts, except if a half sphere contains all points: then no facet bounds the largest hole."""
    lost = torch.tensor([not half_space and in_half_sphere(points) for points in moved])
    return torch.where(lost[:, None, None], x, moved)
