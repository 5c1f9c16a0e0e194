"""Where no optimum is proven, which value can no points surpass? For each measure, n and d, with the source.

Knows shapes and theorems, no tensors. A bound is proven and in general not attained: the best points are somewhere
between it and the best that was found. How much of a bound this program verifies is said where it is computed.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from hsu_core.measures import linear_programming
from hsu_core.measures.linear_programming import DEGREES, Energy, Reals
from hsu_core.spec.objectives import Riesz

ROUNDING = 1e-12
"""By how much values are moved to the safe side."""


class Bound(NamedTuple):
    """A value that no configuration surpasses: the least possible, or the greatest if more is better."""

    value: float
    source: str


# --- means over pairs -------------------------------------------------------------------------------------------------


def riesz(energy: Riesz, n: int, d: int, *, half_space: bool) -> Bound | None:
    """The least `energies.riesz`, by linear programming (`linear_programming.least_mean`).

    By the cosine t, energies of distances have only positive derivatives. Those of angles, θ⁻ˢ = (π/2 − asin t)⁻ˢ, have
    them for t ≥ 0, since asin has only positive coefficients. That is enough for lines, where the odd powers cancel; in
    full space a linear program searches.
    """
    is_monotone = half_space or not energy.angular
    found = linear_programming.least_mean(
        _function(energy, half_space=half_space), n, d, lines=half_space, is_monotone=is_monotone
    )
    if found is None:
        return None
    value, degree = found.value, (1 + half_space) * (len(found.coefficients) - 1)
    if half_space:  # of the 2n − 1 others of a point, one is its own mirror image
        value = ((n - 1) * value + float(_repulsion(energy, np.full(1, math.pi))[0][0])) / (2 * n - 1)
    return Bound(value - ROUNDING * abs(value), f"linear programming, degree {degree}; Yudin 1992")


def _function(energy: Riesz, *, half_space: bool) -> Energy:
    def of_line(angles: Reals) -> tuple[Reals, Reals]:
        (value, slope), (mirrored, back) = _repulsion(energy, angles), _repulsion(energy, math.pi - angles)
        return value + mirrored, slope - back

    return of_line if half_space else lambda angles: _repulsion(energy, angles)


def _repulsion(energy: Riesz, angles: Reals) -> tuple[Reals, Reals]:
    """The energy of a pair at these angles, and its derivative by the angle."""
    rho = angles / math.pi if energy.angular else 2 * np.sin(angles / 2)
    slope = np.full_like(angles, 1 / math.pi) if energy.angular else np.cos(angles / 2)
    if energy.s == 0:
        return -np.log(rho), -slope / rho
    value = rho**-energy.s
    return value, -energy.s * value / rho * slope


# --- extreme pairs ----------------------------------------------------------------------------------------------------


def separation(n: int, d: int) -> Bound | None:
    """The largest possible smallest squared distance of n points: the best of Levenshtein's bound and others.

    Levenshtein's is tight for each sharp configuration, and below Rankin's for n > 2d. That his polynomials have
    positive coefficients is his theorem; a test verifies it for many shapes.
    """
    found = linear_programming.largest_cosine(n, d, lines=False)
    if found is None:
        return None
    bounds = [Bound(2 - 2 * found[0], "Levenshtein 1979")]
    if n > d + 1:
        bounds.append(Bound(2.0, "Rankin 1955"))
    if d == 3:
        bounds.append(Bound(4 - math.sin(_sixth(n)) ** -2, "Fejes Tóth 1943"))
    best = min(bounds)
    return best._replace(value=best.value + ROUNDING)


def coherence(n: int, d: int) -> Bound | None:
    """The least possible largest |cos| of n > d lines: Levenshtein's bound, which is Welch's for n ≤ d(d + 1)/2.

    It is never less than Welch's bounds of higher orders.
    """
    found = linear_programming.largest_cosine(n, d, lines=True)
    if found is None:
        return None
    square, strength = found
    return Bound(math.sqrt(square) - ROUNDING, "Welch 1974" if strength == 1 else "Levenshtein 1992")


def covering(n: int, d: int) -> Bound:
    """The least possible covering radius of n ≥ 4 points, in degrees: n caps must have the sphere's area.

    On S² they must also overlap: Fejes Tóth 1943, tight for 4, 6 and 12 points.
    """
    if d == 3:
        cosine = 1 / (math.tan(_sixth(n)) * math.sqrt(3))
        return Bound(math.degrees(math.acos(cosine)) - ROUNDING, "Fejes Tóth 1943")
    radius = math.asin(math.sqrt(betaincinv((d - 1) / 2, 1 / 2, 2 / n)))
    return Bound(math.degrees(radius) * (1 - 1e-9), "n caps cover the sphere's area")


def _sixth(n: int) -> float:
    """Half an angle of the 2n − 4 equilateral triangles that together have the area of S²."""
    return math.pi * n / (6 * (n - 2))


# --- the Gram determinant ---------------------------------------------------------------------------------------------

RIDGE = 1e-6
"""What `energies.gram_determinant` adds to the diagonal."""


def log_det(n: int, d: int) -> Bound:
    """The largest possible `energies.gram_determinant`, from its concavity.

    The kernel exp(2 cos − 2) is Σ aₖPₖ, all aₖ > 0 (those behind `DEGREES` below 10⁻³⁰). The part of degree k has trace
    n aₖ, and no larger rank than there are harmonics of degree k. So all but the r(m) largest eigenvalues, r(m) = the
    number of harmonics up to degree m, have together at most n times the sum of aₖ over k > m. Among all eigenvalues
    with these sums, the determinant is largest where their sums from the smallest on follow the lower convex hull. For
    m = 0 it is the mean of the kernel over all pairs, which is at least that of the whole sphere.
    """
    of = linear_programming.space(d, lines=False)
    a = of.coefficients(lambda t: np.exp(2 * t - 2), DEGREES).clip(min=0)
    up_to = np.cumsum(np.round(of.at_one[: DEGREES + 1] ** 2))
    behind = np.append(np.cumsum(a[:0:-1])[::-1], 0.0) + 1e-14
    corners = [(n, n * (1 + RIDGE))]
    corners += [(n - int(r), n * tail + (n - int(r)) * RIDGE) for r, tail in zip(up_to, behind, strict=True) if r < n]
    hull: list[tuple[int, float]] = [(0, 0.0)]
    for corner in corners[::-1]:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], corner):
            hull.pop()
        hull.append(corner)
    pieces = itertools.pairwise(hull)
    value = sum((right[0] - left[0]) * math.log(_slope(left, right)) for left, right in pieces)
    return Bound(value + ROUNDING * n, "traces of the kernel's harmonics")


def _slope(left: tuple[int, float], right: tuple[int, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
