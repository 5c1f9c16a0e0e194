"""Bounds: no known optimum and no points surpass them, and they are attained where that is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsu_core import sphere
from hsu_core.measures import bounds, panel, references
from hsu_core.measures.bounds import Bound
from hsu_core.measures.optima import (
    COHN_KUMAR,
    COVERING_DEGREES,
    ENERGY_SUMS,
    EQUIANGULAR_LINES,
    SPHERICAL_CODES,
    TAMMES_DEGREES,
    best_known,
)
from hsu_core.spec import MEASURES
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Riesz, Separation

HIGHER_IS_BETTER = {"separation", "min_angle", "log_det", "effective_rank"}
SMALL = [(n, d) for d in (2, 3, 4, 5, 9) for n in range(2, 2 * d + 2)]
ENERGIES = [Riesz(s=s, angular=angular) for s in (0, 2, 5) for angular in (False, True)]

OBJECTIVES: list[Objective] = [*ENERGIES, Separation(), Covering(), GramDeterminant()]


def bound_of(objective: Objective, n: int, d: int, *, half_space: bool) -> Bound | None:
    """In the objective's unit."""
    match objective:
        case Riesz():
            return bounds.riesz(objective, n, d, half_space=half_space)
        case Separation() if half_space:
            found = bounds.coherence(n, d)
            return found and found._replace(value=2 - 2 * found.value)
        case Separation():
            return bounds.separation(n, d)
        case Covering() if not half_space:
            found = bounds.covering(n, d)
            return found._replace(value=4 * math.sin(math.radians(found.value) / 2) ** 2)
        case GramDeterminant() if not half_space:
            return bounds.log_det(n, d)
    return None


def known_optima() -> Iterator[tuple[Objective, int, int, bool, float]]:
    """Every optimum in the tables, proven or best known, and small regular ones."""
    shapes = {*COHN_KUMAR, *EQUIANGULAR_LINES, *SPHERICAL_CODES, *SMALL}
    shapes |= {(n, 3) for table in (*ENERGY_SUMS.values(), TAMMES_DEGREES, COVERING_DEGREES) for n in table.values}
    for (n, d), half_space in itertools.product(sorted(shapes), (False, True)):
        for objective in OBJECTIVES:
            if found := best_known(objective, n, d, half_space=half_space):
                yield objective, n, d, half_space, found.value


def test_no_known_optimum_surpasses_a_bound() -> None:
    compared = 0
    for objective, n, d, half_space, optimum in known_optima():
        if isinstance(objective, Covering) and n < 4:
            continue
        if found := bound_of(objective, n, d, half_space=half_space):
            sign = 1 if objective.higher_is_better else -1
            assert sign * (optimum - found.value) <= 1e-9 * max(1, abs(optimum)), (objective, n, d, half_space)
            compared += 1
    assert compared > 300


@pytest.mark.parametrize("s", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("n", "d"), [(3, 2), (4, 3), (5, 9), (11, 10), (6, 3), (10, 5), (128, 64), *(COHN_KUMAR.keys() - {(120, 4)})]
)
def test_simplex_cross_polytope_and_sharp_configurations_attain_the_bounds(n: int, d: int, s: int) -> None:
    energy, apart = Riesz(s=s), Separation()
    optimum = best_known(energy, n, d)
    found = bounds.riesz(energy, n, d, half_space=False)
    assert optimum
    assert found
    assert found.value == pytest.approx(optimum.value, rel=1e-5, abs=1e-6)
    furthest, most = best_known(apart, n, d), bounds.separation(n, d)
    assert furthest
    assert most
    assert most.value == pytest.approx(furthest.value, abs=1e-9)


@pytest.mark.parametrize("s", [1, 2])
def test_of_angles_a_simplex_and_an_octahedron_attain_the_bounds(s: int) -> None:
    energy = Riesz(s=s, angular=True)
    simplex, found = best_known(energy, 10, 64), bounds.riesz(energy, 10, 64, half_space=False)
    octahedron = bounds.riesz(energy, 6, 3, half_space=False)
    assert simplex
    assert found
    assert octahedron
    assert found.value == pytest.approx(simplex.value, rel=1e-5)
    assert octahedron.value == pytest.approx((4 * 2**s + 1) / 5, rel=1e-5)


def test_the_600_cell_is_better_than_polynomials_of_this_degree_can_tell() -> None:
    optimum, found = best_known(Riesz(s=2), 120, 4), bounds.riesz(Riesz(s=2), 120, 4, half_space=False)
    assert optimum
    assert found
    assert 0.99 * optimum.value < found.value < optimum.value - 1e-6


@pytest.mark.parametrize(("n", "d"), sorted(EQUIANGULAR_LINES))
def test_equiangular_lines_attain_the_bounds_in_half_space(n: int, d: int) -> None:
    found, cosine = bounds.coherence(n, d), math.sqrt((n - d) / (d * (n - 1)))
    assert found
    assert found.value == pytest.approx(cosine, abs=1e-9)
    assert found.source == ("Welch 1974" if n <= d * (d + 1) / 2 - 1 else found.source)
    pair = bounds._function(Riesz(s=2), half_space=True)(torch.tensor([math.acos(cosine)]).double().numpy())[0]
    energy = bounds.riesz(Riesz(s=2), n, d, half_space=True)
    assert energy
    assert energy.value == pytest.approx(((n - 1) * pair[0] + 1 / 4) / (2 * n - 1), rel=1e-6)


@pytest.mark.parametrize("n", [4, 6, 12])
def test_platonic_solids_of_triangles_attain_fejes_toths_bounds(n: int) -> None:
    furthest = bounds.separation(n, 3)
    assert furthest
    assert math.degrees(math.acos(1 - furthest.value / 2)) == pytest.approx(TAMMES_DEGREES.values[n], abs=1e-6)
    assert bounds.covering(n, 3).value == pytest.approx(COVERING_DEGREES.values[n], abs=1e-6)


def test_no_welch_bound_of_any_order_is_above_the_coherence_and_no_rankin_bound_below_the_separation() -> None:
    for d, n in itertools.product((2, 3, 5, 9, 27, 64), (3, 6, 10, 28, 64, 100, 300, 1000, 10_000)):
        if n > d:
            least = bounds.coherence(n, d)
            assert least
            moment = 1.0
            for order in range(1, 8):
                moment *= (2 * order - 1) / (d + 2 * order - 2)  # E⟨x, y⟩^(2 · order)
                welch = max(0.0, (n * moment - 1) / (n - 1)) ** (1 / (2 * order))
                assert least.value >= welch - 1e-9, (n, d, order)
        if n > d + 1:
            most = bounds.separation(n, d)
            assert most
            assert most.value <= 2 + 1e-9


def beyond(w: Tensor) -> dict[str, float]:
    """How much better each measure is than its bound."""
    found = references.of_shape(*w.shape, MEASURES)
    return {
        name: (value - bound) * (1 if name in HIGHER_IS_BETTER else -1)
        for name, value in panel.measure(w).items()
        if (bound := found[name].bound) is not None
    }


@settings(max_examples=25)
@given(n=st.integers(4, 60), d=st.integers(2, 12), seed=st.integers(0, 2**32 - 1))
def test_no_random_points_surpass_a_bound(n: int, d: int, seed: int) -> None:
    above = beyond(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    assert above.pop("covering", 0.0) <= 5  # the panel's is an estimate from below
    assert max(above.values(), default=0.0) <= 1e-9


@pytest.mark.parametrize(("n", "d"), [(7, 3), (20, 3), (9, 4), (24, 4), (20, 7)])
@pytest.mark.parametrize("objective", [Riesz(s=2), Riesz(s=1, angular=True), Separation(), GramDeterminant()])
def test_no_optimised_points_surpass_a_bound_and_they_are_near_it(objective: Objective, n: int, d: int) -> None:
    placed = sphere.optimize(n, d, objective, half_space=False, starts=2, seed=0)
    above = beyond(placed.points)
    assert above.pop("covering", 0.0) <= 5
    assert max(above.values()) <= 1e-9
    if not isinstance(objective, GramDeterminant):
        name = {"separation": "separation", "riesz": "mhe_a1" if getattr(objective, "angular", 0) else "mhe_s2"}
        assert above.get(name[objective.kind], 0.0) > -0.2


@pytest.mark.parametrize(("n", "d"), [(64, 27), (128, 576), (10, 512), (10_000, 64), (512, 4608), (64, 9), (300, 3)])
def test_every_measure_of_a_network_has_an_optimum_or_a_bound_better_than_random_points(n: int, d: int) -> None:
    for name in MEASURES:
        random = references._mean_over_pairs(*references.RIESZ[name], n=n, d=d) if name in references.RIESZ else None
        optimum = references._proven_optimum(name, n, d)
        bound = references._proven_bound(name, n, d) if optimum is None else Bound(optimum, "proven")
        assert bound is not None, name
        assert bound.source
        if random is not None:
            assert bound.value < random


def test_the_table_of_the_documentation_is_true() -> None:
    text = Path(__file__).parents[3].joinpath("docs/references.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    shapes = [tuple(int(number.replace(",", "")) for number in row[0].split("×")) for row in rows]
    assert shapes == [(64, 27), (128, 576), (10, 512), (10_000, 64)]
    for (n, d), row in zip(shapes, rows, strict=True):
        optima = sum(references._proven_optimum(name, n, d) is not None for name in MEASURES)
        known = {name: references._proven_bound(name, n, d) for name in MEASURES}
        others = [name for name in MEASURES if references._proven_optimum(name, n, d) is None and known[name]]
        assert [int(cell) for cell in row[1:4]] == [optima, len(others), len(MEASURES)]
