"""Which values would random points have, and which would the best points have? For each measure, n and d.

Knows shapes and no weights. A reference belongs to a layer, not to a step. It makes the curves of layers of different
shapes comparable. It is None if no finite value is defined or known. Where no optimum is proven, `bounds` says what no
points surpass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import fmean, median

import torch
from scipy.integrate import quad

from hsu_core.measures import bounds, panel
from hsu_core.measures.bounds import Bound
from hsu_core.measures.optima import best_known
from hsu_core.outcomes import Reference
from hsu_core.spec import Measure
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Riesz, Separation

SEED, MOST_DRAWS, FEWEST_DRAWS, WORK = 0, 32, 2, 2**20
"""For the drawn matrices. Their number is as large as fits in WORK = draws · n(n + d), because large matrices differ
little from each other. The 32 draws of a small layer take 0.03 s. The draws of all layers of `cnn9` take as long as
five recorded steps."""


@cache
def of_shape(
    n: int, d: int, measures: tuple[Measure, ...], *, device: torch.device | str = "cpu"
) -> Mapping[Measure, Reference]:
    """Each measure of the panel for n independent uniform points on S^(d−1), and for the best points.

    `random` is the expectation. For a mean over pairs it is exact: an integral over the angle of one pair. A mean over
    matrices would fluctuate as much as the possible gain. For the other measures it is the mean over a few matrices,
    always the same ones for a shape. `mhe_s1`, `a1` in two and `mhe_s2`, `a2` in up to three dimensions have an
    infinite expectation: there it is the median over such matrices. `optimum` is given only if it is proven and
    attained; otherwise `bound` is a proven value that no points surpass, with its source. Every measure has one of them
    if n ≥ 2 and d ≥ 2. The panel's `covering` is a lower bound, so it may be below its own optimum or bound.
    """
    exact = {name: _mean_over_pairs(*RIESZ[name], n=n, d=d) for name in measures if name in RIESZ}
    random = {name: value for name, value in exact.items() if math.isfinite(value)}
    random |= _drawn(n, d, [name for name in measures if name not in random], device=torch.device(device))
    return {name: _reference(name, n, d, _finite(random[name])) for name in measures}


def _reference(measure: Measure, n: int, d: int, random: float | None) -> Reference:
    optimum = _proven_optimum(measure, n, d)
    bound = _proven_bound(measure, n, d) if optimum is None else None
    return Reference(random, optimum, *(bound or (None, None)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- random points ----------------------------------------------------------------------------------------------------


def _mean_over_pairs(energy: Riesz, half_space: bool, *, n: int, d: int) -> float:  # noqa: FBT001  # a row of RIESZ
    """The expected `energies.riesz`; infinite for s ≥ d − 1, NaN without a pair."""
    if n < 2:
        return math.nan
    mean = _mean_over_angles(partial(_repulsion, energy), d) if energy.s < d - 1 else math.inf
    if not half_space:
        return mean
    # A point of the doubled set has 2n − 1 others: one is its own mirror image, the rest are uniform.
    return ((2 * n - 2) * mean + _repulsion(energy, math.pi)) / (2 * n - 1)


def _repulsion(energy: Riesz, angle: float) -> float:
    rho = angle / math.pi if energy.angular else 2 * math.sin(angle / 2)
    return -math.log(rho) if energy.s == 0 else rho**-energy.s


def _mean_over_angles(f: Callable[[float], float], d: int) -> float:
    """E f(θ) with θ the angle of two uniform points, whose density is proportional to sin^(d−2) θ."""

    def integral(g: Callable[[float], float]) -> float:
        # Folded at 90°, where most of the mass is for large d: the quadrature has the most nodes at the ends.
        value: float = quad(lambda t: g(t) * math.sin(t) ** (d - 2), 0, math.pi / 2, epsabs=1e-13, epsrel=1e-11)[0]
        return value

    return integral(lambda t: f(t) + f(math.pi - t)) / integral(lambda _: 2.0)


def _drawn(n: int, d: int, measures: list[Measure], *, device: torch.device) -> dict[Measure, float]:
    generator = torch.Generator().manual_seed(SEED)
    draws = min(MOST_DRAWS, max(FEWEST_DRAWS, WORK // (n * (n + d)))) if measures else 0
    panels = [panel.measure(torch.randn(n, d, generator=generator).to(device), measures) for _ in range(draws)]
    return {name: (median if name in RIESZ else fmean)([measured[name] for measured in panels]) for name in measures}


# --- the best points --------------------------------------------------------------------------------------------------


def _proven_optimum(measure: Measure, n: int, d: int) -> float | None:
    if n < 2 or d < 2:
        return None
    if measure == "resultant_length":
        return 0.0  # a regular polygon in some plane
    if measure == "effective_rank":
        return float(min(n, d))  # orthonormal rows or a unit-norm tight frame: Benedetto and Fickus 2003
    if measure == "wasserstein_uniformity":
        return _least_wasserstein(n, d)
    if measure not in OBJECTIVES:
        return None
    objective, half_space, in_its_unit = OBJECTIVES[measure]
    best = best_known(objective, n, d, half_space=half_space)
    return in_its_unit(best.value) if best and best.is_proven else None


def _least_wasserstein(n: int, d: int) -> float | None:
    """With zero mean, 2 − 2/√d · tr Σ^½ is least where Σ has equal eigenvalues: √(2 − 2√(r/d)) with r their number.

    A simplex has r = n − 1. A spherical 2-design has r = d; there is one of n > d points, unless d is odd and n = d + 2
    (Mimura 1990).
    """
    if d % 2 == 1 and n == d + 2:
        return None
    return math.sqrt(2 - 2 * math.sqrt(min(n - 1, d) / d))


def _proven_bound(measure: Measure, n: int, d: int) -> Bound | None:
    if n < 2 or d < 2:
        return None
    match measure:
        case "separation":
            return bounds.separation(n, d)
        case "min_angle":
            best = bounds.separation(n, d)
            return best and best._replace(value=_degrees(best.value))
        case "coherence":
            return bounds.coherence(n, d)
        case "covering":
            return bounds.covering(n, d)
        case "log_det":
            return bounds.log_det(n, d)
        case "wasserstein_uniformity":
            return Bound(0.0, "a distance; no spherical 2-design: Mimura 1990")
        case _ if measure in RIESZ:
            energy, half_space = RIESZ[measure]
            return bounds.riesz(energy, n, d, half_space=half_space)
        case _:
            return None  # its optimum is proven for every shape


def _degrees(squared_distance: float) -> float:
    return 2 * math.degrees(math.asin(math.sqrt(squared_distance) / 2))


def _cosine(squared_distance: float) -> float:
    return 1 - squared_distance / 2


def _as_it_is(value: float) -> float:
    return value


RIESZ: dict[Measure, tuple[Riesz, bool]] = {
    f"mhe_{letter}{s}{suffix}": (Riesz(s=s, angular=letter == "a"), suffix == "_half")  # type: ignore[misc]
    for letter, s, suffix in itertools.product("sa", (0, 1, 2), ("", "_half"))
}
"""The energies of the panel, and whether each is in half space."""

OBJECTIVES: dict[Measure, tuple[Objective, bool, Callable[[float], float]]] = {
    **{name: (energy, half_space, _as_it_is) for name, (energy, half_space) in RIESZ.items()},
    "separation": (Separation(), False, _as_it_is),
    "min_angle": (Separation(), False, _degrees),
    "coherence": (Separation(), True, _cosine),
    "log_det": (GramDeterminant(), False, _as_it_is),
    "covering": (Covering(), False, _degrees),
}
"""The objective of a measure, whether it is in half space, and the measure from the objective's value.

A measure that is not listed has no proven optimum.
"""
