"""The polynomials that prove bounds, against scipy's Gegenbauer polynomials; and Levenshtein's quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import eval_chebyt, eval_gegenbauer

from hsu_core.measures import bounds, linear_programming
from hsu_core.measures.linear_programming import Reals
from hsu_core.spec.objectives import Riesz

SHAPES = [(5, 3), (12, 3), (100, 3), (1000, 3), (24, 4), (16, 5), (64, 9), (40, 27), (64, 27), (10, 64), (10_000, 64)]


def gegenbauer(k: int, d: int, t: Reals) -> Reals:
    """Pₖ of d dimensions, with Pₖ(1) = 1, by scipy."""
    half = (d - 2) / 2
    if half == 0:
        return np.asarray(eval_chebyt(k, t))
    return np.asarray(eval_gegenbauer(k, half, t) / eval_gegenbauer(k, half, 1.0))


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("d", [2, 3, 5, 64])
def test_the_polynomials_are_gegenbauers(d: int, *, lines: bool) -> None:
    of, t = linear_programming.space(d, lines=lines), np.linspace(-1, 1, 101)
    p = of.values(t**of.step, 12)
    for k in range(13):
        assert p[k] / of.at_one[k] == pytest.approx(gegenbauer(of.step * k, d, t), abs=1e-11)


@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_polynomial_of_a_bound_is_positive_definite_and_nowhere_above_the_energy(
    n: int, d: int, *, half_space: bool, angular: bool
) -> None:
    """At random angles, and those near the ends; not the cells of the verification itself."""
    if half_space and n <= d:
        pytest.skip("orthonormal lines are the best")
    last = math.pi / (1 + half_space)
    angles = last * np.concatenate([np.random.default_rng(0).random(20_000), 1 - np.geomspace(1e-12, 1e-2, 50)])
    for s in (0, 1, 2):
        energy = bounds._function(Riesz(s=s, angular=angular), half_space=half_space)
        is_monotone = half_space or not angular
        found = linear_programming.least_mean(energy, n, d, lines=half_space, is_monotone=is_monotone)
        assert found is not None
        c = found.coefficients
        assert c[1:].min() >= 0
        h = sum(each * gegenbauer((1 + half_space) * k, d, np.cos(angles)) for k, each in enumerate(c))
        f = energy(angles)[0]
        assert (h - f).max() <= found.excess + 1e-12 * np.abs(c).sum()
        assert found.value == pytest.approx((n * c[0] - c.sum()) / (n - 1) - found.excess, rel=1e-12)
        assert found.excess < (1e-2 if n == 1000 else 1e-4) * abs(found.value)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("highest", [linear_programming.HIGHEST, 2 * linear_programming.MOST_NODES - 1])
@pytest.mark.parametrize(("n", "d"), [*SHAPES, (3000, 4), (100_000, 8), (2**17, 576)])
def test_the_quadrature_is_exact_and_its_weights_are_positive(n: int, d: int, highest: int, *, lines: bool) -> None:
    found = linear_programming.quadrature(n, d, lines=lines, highest=highest)
    if found is None:
        assert lines
        assert n <= d
        return
    of = linear_programming.space(d, lines=lines)
    assert found.strength <= highest
    assert found.nodes.min() >= of.low
    assert found.nodes.max() < 1
    assert found.weights.min() >= 0
    known = min(found.strength, linear_programming.DEGREES)
    sums = of.at_one[: known + 1] / n + of.values(found.nodes, known) @ found.weights
    assert sums / of.at_one[: known + 1] == pytest.approx(np.eye(known + 1)[0], abs=1e-9)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("d", [3, 4, 5, 9, 27, 64])
def test_levenshteins_polynomials_have_positive_coefficients_and_prove_what_is_said(d: int, *, lines: bool) -> None:
    """f = (t − s)(t − low)^(0 or 1) Π(t − node)² is ≤ 0 up to s, and f(1) / f₀ = n: n points must have a cosine ≥ s."""
    of = linear_programming.space(d, lines=lines)
    for n in (d + 2, 2 * d, 2 * d + 1, 3 * d, d * (d + 1) // 2, d * (d + 1) // 2 + 1, d**2, 2 * d**2):
        found = linear_programming.quadrature(n, d, lines=lines, highest=2 * linear_programming.MOST_NODES - 1)
        assert found is not None
        assert linear_programming.largest_cosine(n, d, lines=lines) == (found.nodes[-1], found.strength)
        is_even = found.strength % 2 == 0
        inner, s = found.nodes[is_even:-1], found.nodes[-1]

        def polynomial(t: Reals, inner: Reals = inner, s: float = s, *, is_even: bool = is_even) -> Reals:
            of_end = t - of.low if is_even else 1.0
            return np.asarray((t - s) * of_end * np.prod((t[:, None] - inner) ** 2, axis=1))

        c = of.coefficients(polynomial, found.strength)
        assert c.min() > -1e-12 * c.max()
        assert polynomial(np.ones(1))[0] / c[0] == pytest.approx(n, rel=1e-8)
