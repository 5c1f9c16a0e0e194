"""What does linear programming prove about points on a sphere, or about lines through its centre?

Delsarte's method: the Gegenbauer polynomials Pₖ of d dimensions (Pₖ(1) = 1) are positive definite, so Σ over all pairs
(i, j) of Pₖ(⟨xᵢ, xⱼ⟩) ≥ 0. If h = Σ cₖPₖ, cₖ ≥ 0 for k ≥ 1, is nowhere above an energy f, then for any n points

    mean of f over pairs i ≠ j  ≥  (n c₀ − h(1)) / (n − 1)                              (Yudin 1992)

For lines only even k are used, and f(θ) + f(π − θ). Knows numbers, in float64; knows no measures and no tensors.

What is verified at each call, for the polynomial that is used: cₖ ≥ 0, and h ≤ f on the whole interval and not only at
grid points. It holds as all f here are convex in the angle, and |d²h/dθ²| ≤ Σ cₖ k(k + d − 2)/(d − 1), for Pₖ(cos θ)
is a sum of cosines of multiples of θ with positive factors. By as much as h may be above f, the bound is lowered. What
is not verified: rounding, some 10⁻¹⁴. How h is found matters for the bound's quality and not for its truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import linprog

Reals = NDArray[np.floating[Any]]
Energy = Callable[[Reals], tuple[Reals, Reals]]
"""From angles to the values and their derivatives by the angle. Convex and decreasing (for lines, up to 90°)."""

HIGHEST, MOST_NODES, DEGREES = 21, 32, 40
"""The largest strength of the polynomials for energies, the most inner nodes of a quadrature, and all known degrees."""
CELLS = 8192
"""Into which the angles are divided when a polynomial is verified."""
TRIED = 1000
"""Angles at which the linear program compares."""


class Quadrature(NamedTuple):
    """∫ p = p(1)/n + Σ weights · p(nodes) for each polynomial p up to a degree; for lines, of squared cosines."""

    strength: int
    """Levenshtein's τ. If it is even, the first node is the lower end of the interval."""
    nodes: Reals
    weights: Reals


class Space:
    """The orthonormal polynomials of the cosine of two random points, or for lines of its square."""

    def __init__(self, d: int, *, lines: bool) -> None:
        """`d` ≥ 2."""
        self.d, self.lines, self.low = d, lines, 0.0 if lines else -1.0
        self.step = 2 if lines else 1
        """The degree in the cosine of one degree here."""
        k = np.arange(2, 4 * MOST_NODES + 8)
        b = np.sqrt(np.concatenate([[0, 1 / d], k * (k + d - 3) / ((2 * k + d - 2) * (2 * k + d - 4))]))
        if lines:
            self.diagonal, self.beside = b[0:-1:2] ** 2 + b[1::2] ** 2, b[1:-2:2] * b[2:-1:2]
        else:
            self.diagonal, self.beside = np.zeros(len(b)), b[1:]
        self.at_one = self.values(np.ones(1), DEGREES)[:, 0]
        """Each at the cosine 1: the square root of the dimension of its harmonics."""

    def values(self, x: Reals, degree: int) -> Reals:
        """The polynomials up to a degree: (degree + 1, points)."""
        p = [np.zeros_like(x), np.ones_like(x)]
        beside = np.concatenate([[0.0], self.beside])
        for k in range(degree):
            p.append(((x - self.diagonal[k]) * p[-1] - beside[k] * p[-2]) / self.beside[k])
        return np.array(p[1:])

    def slopes(self, x: Reals, p: Reals) -> Reals:
        """The derivatives by x of the polynomials with these values."""
        q = [np.zeros_like(x), np.zeros_like(x)]
        beside = np.concatenate([[0.0], self.beside])
        for k in range(len(p) - 1):
            q.append(((x - self.diagonal[k]) * q[-1] + p[k] - beside[k] * q[-2]) / self.beside[k])
        return np.array(q[1:])

    def by_x(self, k: int) -> Reals:
        """Multiplication by x, a k × k matrix in the orthonormal basis."""
        beside = self.beside[: k - 1]
        return np.diag(self.diagonal[:k]) + np.diag(beside, 1) + np.diag(beside, -1)

    def coefficients(self, of: Callable[[Reals], Reals], degree: int) -> Reals:
        """cₖ of a function, by Gauss quadrature: exact for a polynomial of this degree."""
        x, vectors = np.linalg.eigh(self.by_x(degree + 1))
        found: Reals = self.values(x, degree) @ (vectors[0] ** 2 * of(x)) * self.at_one[: degree + 1]
        return found

    def angles(self, x: Reals) -> Reals:
        """The angles at which a polynomial's argument is x."""
        angles: Reals = np.arccos(np.sqrt(x) if self.lines else x)
        return angles


@cache
def space(d: int, *, lines: bool) -> Space:
    """The polynomials of d dimensions."""
    return Space(d, lines=lines)


# --- Levenshtein's quadrature -----------------------------------------------------------------------------------------


def threshold(strength: int, d: int, *, lines: bool) -> int:
    """The number of points above which Levenshtein's bound of this strength is the best (Levenshtein 1998, table 5.1).

    It is that of a tight design: of Delsarte, Goethals and Seidel 1977.
    """
    if lines:
        return math.comb(d + strength - 1, d - 1)
    k = (strength + 1) // 2
    if strength % 2:
        return 2 * math.comb(d + k - 2, d - 1)
    return math.comb(d + k - 1, d - 1) + math.comb(d + k - 2, d - 1)


def largest_cosine(n: int, d: int, *, lines: bool) -> tuple[float, int] | None:
    """Among n points some pair has at least this cosine (of lines, its square), by Levenshtein; with the strength.

    The largest node of the quadrature. If n is beyond what `MOST_NODES` can tell, it is that of fewer points, which is
    a bound too. None as for `quadrature`.
    """
    strength = 2 * MOST_NODES - 1
    found = quadrature(min(n, threshold(strength + 1, d, lines=lines)), d, lines=lines, highest=strength)
    return found and (float(found.nodes[-1]), found.strength)


@cache
def quadrature(n: int, d: int, *, lines: bool, highest: int) -> Quadrature | None:
    """Levenshtein's 1/n-quadrature, of this strength at most: a Gauss quadrature without the mass 1/n at 1.

    None for so few points that a simplex, or orthonormal lines, are the best.
    """
    strength = 0
    while strength < highest and threshold(strength + 1, d, lines=lines) < n:
        strength += 1
    if strength == 0:
        return None
    of, k = space(d, lines=lines), (strength + 1) // 2
    at_one = of.at_one[:k]
    gone, whole = np.outer(at_one, at_one) / n, of.by_x(k + 1)
    mass, moment = np.eye(k) - gone, whole[:k, :k] - gone
    if strength % 2 == 0:  # times x − low: the rest of a quadrature with a node there
        second = (whole @ whole)[:k, :k] - gone
        mass, moment = moment - of.low * mass, second - of.low * moment
    nodes, vectors = eigh(moment, mass)
    weights = (vectors.T @ mass[:, 0]) ** 2
    if strength % 2 == 0:
        weights = weights / (nodes - of.low)
        nodes, weights = np.append(of.low, nodes), np.append(1 - 1 / n - weights.sum(), weights)
    return Quadrature(strength, nodes, weights)


# --- energies ---------------------------------------------------------------------------------------------------------


class LeastMean(NamedTuple):
    """What the mean of an energy over all pairs is at least, and the polynomial that proves it."""

    value: float
    coefficients: Reals
    """cₖ; for lines of the even polynomials."""
    excess: float
    """By how much the polynomial may be above the energy."""


def least_mean(energy: Energy, n: int, d: int, *, lines: bool, is_monotone: bool) -> LeastMean | None:
    """The bound for n points or lines; None for few lines.

    `is_monotone`: whether all derivatives of the energy by the cosine (for lines by its square) are positive. Then the
    best polynomial touches it at Levenshtein's nodes: the universal bound of Boyvalenkov, Dragnev, Hardin, Saff and
    Stoyanova 2016 (arXiv 1503.07228), by Cohn and Kumar 2007 for tight configurations. Otherwise a linear program
    searches for one, of a degree higher by 2.
    """
    of, found = space(d, lines=lines), quadrature(n, d, lines=lines, highest=HIGHEST)
    if found is None:
        return None
    c = _touching(of, found, energy) if is_monotone else _searched(of, n, energy, degree=found.strength + 2)
    c[1:] = c[1:].clip(min=0)
    excess = _excess(of, c, energy)
    return LeastMean(float((n * c[0] - c.sum()) / (n - 1)) - excess, c, excess)


def _touching(of: Space, at: Quadrature, energy: Energy) -> Reals:
    """cₖ of the polynomial with the energy's value and slope at each node; at the end of the interval, only its value.

    By Newton's divided differences.
    """
    is_even = at.strength % 2 == 0
    x = np.repeat(at.nodes, 2)[is_even:]
    angles = of.angles(x)
    differences, slopes = energy(angles)
    slopes = slopes[is_even:] / -np.sin(angles[is_even:] * of.step)
    newton = [differences[0]]
    for apart in range(1, len(x)):
        gaps = x[apart:] - x[:-apart]
        same = gaps == 0
        differences = np.diff(differences) / np.where(same, 1, gaps)
        if apart == 1:
            differences[same] = slopes[::2]
        newton.append(differences[0])

    def polynomial(y: Reals) -> Reals:
        value = np.full_like(y, newton[-1])
        for coefficient, node in zip(newton[-2::-1], x[-2::-1], strict=True):
            value = value * (y - node) + coefficient
        return value

    return of.coefficients(polynomial, len(x) - 1)


def _searched(of: Space, n: int, energy: Energy, *, degree: int) -> Reals:
    """cₖ of the best polynomial that is at most the energy at `TRIED` angles."""
    angles = np.linspace(0, math.pi / of.step, TRIED + 1)[1:]
    below = (of.values(np.cos(angles) ** of.step, degree) / of.at_one[: degree + 1, None]).T
    cost = np.ones(degree + 1)
    cost[0] = 1 - n
    signs = [(None, None), *[(0, None)] * degree]
    found: Reals = linprog(cost, A_ub=below, b_ub=energy(angles)[0], bounds=signs).x
    return found


def _excess(of: Space, c: Reals, energy: Energy) -> float:
    """By how much at most the polynomial is above the energy, at any angle of a pair.

    On a cell of half width r, convex f is above its tangent in the middle m, and h within r² sup|h″|/2 of its own.
    """
    width = math.pi / of.step / CELLS
    middle = (np.arange(CELLS) + 0.5) * width
    r = width / 2
    p, slopes = _on_cells(of.d, lines=of.lines)
    each = c / of.at_one[: len(c)]
    f, f_slope = energy(middle)
    k = of.step * np.arange(len(c))
    curved = (c * k * (k + of.d - 2))[1:].sum() / (of.d - 1) * r * r / 2
    least = f - each @ p[: len(c)] - np.abs(f_slope - each @ slopes[: len(c)]) * r - curved
    is_above = energy(middle + r)[0] >= c.sum()  # near 0, where f is above h(1), the largest value of h
    return max(0.0, -float(least[~is_above].min(initial=0.0)))


@cache
def _on_cells(d: int, *, lines: bool) -> tuple[Reals, Reals]:
    """The polynomials in the middle of each cell, and their derivatives by the angle."""
    of = space(d, lines=lines)
    middle = (np.arange(CELLS) + 0.5) * math.pi / of.step / CELLS
    x = np.cos(middle) ** of.step
    p = of.values(x, HIGHEST + 2)
    return p, of.slopes(x, p) * -np.sin(of.step * middle)
