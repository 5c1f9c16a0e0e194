"""Placing points against proven and best known optima, and the worst pole against configurations where it is known.

The whole reference table is in benchmarks/sphere.py; here are some entries of each kind.
"""

import itertools
import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from hsu_core import energies, sphere
from hsu_core.outcomes import Series, Stopped
from hsu_core.spec import MEASURES
from hsu_core.spec.menus import members
from hsu_core.spec.objectives import Covering, GramDeterminant, Objective, Polarization, Riesz, Separation
from hsu_core.sphere import levels, minimax, placement
from hsu_core.sphere.descent import Potential, unit


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_polytope(d: int) -> Tensor:
    return torch.cat([torch.eye(d, dtype=torch.float64), -torch.eye(d, dtype=torch.float64)])


def tetrahedron() -> Tensor:
    return torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)


def icosahedron() -> Tensor:
    golden = (1 + math.sqrt(5)) / 2
    signs = itertools.product((1.0, -1.0), repeat=2)
    corners = [corner for a, b in signs for corner in ([0, a, b * golden], [a, b * golden, 0], [b * golden, 0, a])]
    return torch.tensor(corners, dtype=torch.float64)


# --- placing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("n", [5, 12, 24, 32])
def test_the_best_known_energy_on_the_sphere_is_reached(n: int, s: float) -> None:
    found = sphere.optimize(n, 3, Riesz(s=s), starts=4)
    assert found.best_known is not None
    assert abs(found.gap or 0) <= 1e-9 * max(1, abs(found.best_known.value))


@pytest.mark.parametrize("n", [7, 14])
def test_tammes_angles_are_reached(n: int) -> None:
    found = sphere.optimize(n, 3, Separation())
    assert found.best_known is not None
    assert sphere.angle_degrees(found.value) == pytest.approx(sphere.angle_degrees(found.best_known.value), abs=1e-5)


@pytest.mark.parametrize("n", [5, 8])
def test_coverings_are_reached(n: int) -> None:
    found = sphere.optimize(n, 3, Covering(), starts=3)
    assert found.best_known is not None
    assert found.inner == "hull"
    assert sphere.angle_degrees(found.value) == pytest.approx(sphere.angle_degrees(found.best_known.value), abs=1e-5)


def test_six_points_reach_the_polarization_of_the_octahedron() -> None:
    assert sphere.optimize(6, 3, Polarization(), starts=2).value == pytest.approx(0.75, abs=1e-8)


@pytest.mark.parametrize(
    "objective", [Riesz(s=0), Riesz(s=2), Separation(), Polarization(), Covering(), GramDeterminant()]
)
@pytest.mark.parametrize(("n", "d"), [(4, 3), (10, 64), (100, 256)])
def test_few_points_make_a_simplex_under_every_objective(n: int, d: int, objective: Objective) -> None:
    found = sphere.optimize(n, d, objective)
    cosines = (found.points @ found.points.T)[~torch.eye(n, dtype=torch.bool)]
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / (n - 1)), atol=1e-10, rtol=0)
    assert found.gap == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("objective", [Riesz(s=1, angular=True), Riesz(), Separation(), GramDeterminant(), Covering()])
@pytest.mark.parametrize(("n", "d"), [(3, 3), (64, 576)])
def test_few_points_are_orthonormal_in_half_space(n: int, d: int, objective: Objective) -> None:
    found = sphere.optimize(n, d, objective, half_space=True)
    torch.testing.assert_close(found.points @ found.points.T, torch.eye(n, dtype=torch.float64), atol=1e-10, rtol=0)
    assert found.gap == pytest.approx(0, abs=1e-9)


def test_gram_determinants_are_those_of_the_reference_table() -> None:
    assert sphere.optimize(100, 256, GramDeterminant()).value == pytest.approx(-11.43809, abs=1e-5)
    half = [sphere.optimize(n, 256, GramDeterminant(), half_space=True).value for n in (64, 128)]
    assert half == pytest.approx([-16.61073, -35.73433], abs=1e-5)


@pytest.mark.parametrize("objective", [Polarization(), Covering()])
def test_six_lines_in_space_are_those_of_the_icosahedron(objective: Objective) -> None:
    found = sphere.optimize(6, 3, objective, half_space=True, starts=2)
    cosines = (found.points @ found.points.T)[~torch.eye(6, dtype=torch.bool)].abs()
    torch.testing.assert_close(cosines, torch.full_like(cosines, 1 / math.sqrt(5)), atol=1e-6, rtol=0)


def test_ten_equiangular_lines_in_five_dimensions_are_found() -> None:
    found = sphere.optimize(10, 5, Separation(), half_space=True, starts=6)
    assert found.gap == pytest.approx(0, abs=1e-10)


def test_four_points_repelled_by_the_logarithm_of_the_angle_prefer_antipodal_pairs_to_a_simplex() -> None:
    found = sphere.optimize(4, 3, Riesz(s=0, angular=True))
    assert found.value == pytest.approx(-4 / 6 * math.log(1 / 2), rel=1e-12)
    assert found.best_known is None


@pytest.mark.parametrize("s", [1e-9, 0.3, 6.0, 64.0])
def test_every_exponent_finds_the_icosahedron(s: float) -> None:
    found = sphere.optimize(12, 3, Riesz(s=s), starts=8)
    assert found.gap == pytest.approx(0, abs=1e-9 * abs(found.value))


def test_points_on_the_circle_make_a_polygon() -> None:
    for objective in (Riesz(s=1), Riesz(s=2, angular=True), Separation(), Covering()):
        assert sphere.optimize(7, 2, objective, starts=8).gap == pytest.approx(0, abs=1e-8)


def test_the_same_seed_gives_the_same_points_and_the_value_is_theirs() -> None:
    first, again, other = (sphere.optimize(9, 4, Riesz(s=1), starts=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.points, again.points)
    assert not torch.equal(first.points, other.points)
    assert first.value == pytest.approx(float(energies.riesz(first.points, 1.0)), rel=1e-15)
    assert len(first.values) == 4
    assert first.value == min(first.values)
    torch.testing.assert_close(first.points.norm(dim=1), torch.ones(9, dtype=torch.float64))


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """A number of points of which a batch holds two starts."""
    monkeypatch.setattr(placement, "LARGEST_BATCH", 2 * 18**2)
    return 9


def test_a_search_reports_the_best_value_so_far_and_what_the_first_and_the_last_points_measure(
    two_at_once: int,
) -> None:
    told: list[tuple[int, Mapping[Series, float]]] = []
    found = sphere.optimize(
        two_at_once, 4, GramDeterminant(), starts=3, report=lambda step, values: told.append((step, values))
    )
    assert [step for step, _ in told] == [0, 2, 3]
    values = [values[Series(None, "value")] for _, values in told]
    assert values == sorted(values)
    assert values[-1] == found.value == max(found.values)
    first, between, last = ({series.measure for series in values if series.layer == "points"} for _, values in told)
    assert first == last == set(MEASURES)
    assert between == set()
    assert told[-1][1][Series("points", "log_det")] == pytest.approx(found.value, rel=1e-9)


@pytest.mark.parametrize("objective", members(Objective), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("half_space", [False, True])
def test_a_search_ends_soon_after_it_was_asked_to_stop(objective: type[Objective], half_space: bool) -> None:
    asked = itertools.count()
    stopped = sphere.optimize(40, 3, objective(), half_space=half_space, should_stop=lambda: next(asked) >= 30)
    assert stopped == Stopped(0)
    assert next(asked) == 31
    assert isinstance(sphere.optimize(2, 3, objective()), sphere.Configuration)  # the wish ended with its search


def test_a_search_that_is_stopped_says_how_many_starts_are_done(two_at_once: int) -> None:
    done = [0]
    stopped = sphere.optimize(
        two_at_once,
        4,
        Riesz(),
        starts=6,
        report=lambda step, _: done.append(step),
        should_stop=lambda: done[-1] == 4,
    )
    assert stopped == Stopped(4)


def test_one_point_is_a_configuration_where_that_makes_sense() -> None:
    assert sphere.optimize(1, 3, Covering()).value == pytest.approx(4)
    assert sphere.optimize(1, 3, Polarization()).value == pytest.approx(1 / 4)
    assert sphere.optimize(1, 3, Riesz(s=1), half_space=True).value == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("n", "d", "starts", "message"),
    [(0, 3, None, "n = 0"), (3, 1, None, "d = 1"), (3, 3, 0, "starts = 0"), (1, 3, None, "pairs")],
)
def test_bad_input_is_said_plainly(n: int, d: int, starts: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sphere.optimize(n, d, Riesz(), starts=starts)


# --- gradients --------------------------------------------------------------------------------------------------------


def looked_at(look: minimax.Looking, x: Tensor) -> Potential:
    seen = look(x)
    return levels.soft_minimum(seen.measure, 5.0, seen.log_weights)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("objective", ["riesz", "log", "small s", "angular", "gram", "facets", "minima", "many poles"])
def test_the_gradient_of_every_potential_is_its_own(objective: str, half_space: bool) -> None:
    x = unit(random(2, 9, 3))
    look = {"facets": minimax._facets_seen, "minima": minimax._minima_seen, "many poles": minimax._many_poles_seen}
    if objective in look:
        potential = looked_at(minimax._in_mirror(look[objective]) if half_space else look[objective], x)
    elif objective == "gram":
        potential = levels.gram_determinant
    else:
        s = {"riesz": 2.5, "log": 0.0, "small s": 0.01, "angular": 1.0}[objective]
        measure, weights = levels.pairs(9, angular=objective == "angular", half_space=half_space)
        potential = levels.soft_minimum(measure, s, weights)
    direction = random(2, 9, 3, seed=1)
    direction = direction - x * (direction * x).sum(2, keepdim=True)
    _, gradient = potential(x)
    step = 1e-6
    difference = potential(unit(x + step * direction))[0] - potential(unit(x - step * direction))[0]
    torch.testing.assert_close(difference / (2 * step), (gradient * direction).sum((1, 2)), rtol=2e-6, atol=2e-6)


# --- the worst pole ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "value"),
    [
        (cross_polytope(3), 3 / 4),
        (tetrahedron(), 5 / 8),
        (icosahedron(), 15 / 16),
        (cross_polytope(4), 2 / 3),
        (cross_polytope(64), 64 / 126),
    ],
    ids=["octahedron", "tetrahedron", "icosahedron", "16-cell", "cross-polytope"],
)
def test_the_least_mean_potential_is_known(points: Tensor, value: float) -> None:
    pole = sphere.polarization_pole(points)
    assert pole.value == pytest.approx(value, abs=1e-12)
    assert float(energies.polarization(points, pole.position)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("points", "degrees"),
    [
        (tetrahedron(), math.degrees(math.acos(1 / 3))),
        (cross_polytope(3), math.degrees(math.acos(1 / math.sqrt(3)))),
        (icosahedron(), 37.3773681406497),
        (cross_polytope(64), math.degrees(math.acos(1 / 8))),
        (torch.tensor([[0.0, 0.0, 2.0]]), 180.0),
        (torch.eye(3), math.degrees(math.acos(-1 / math.sqrt(3)))),
        (cross_polytope(3)[:, :2][[0, 1, 3, 4]] @ torch.eye(3, dtype=torch.float64)[:2], 90.0),
    ],
    ids=["tetrahedron", "octahedron", "icosahedron", "cross-polytope", "one point", "an octant", "an equator"],
)
def test_the_covering_radius_is_known(points: Tensor, degrees: float) -> None:
    assert sphere.covering_angle(points) == pytest.approx(degrees, abs=1e-9)


def test_a_pole_says_how_it_was_found() -> None:
    assert sphere.covering_pole(icosahedron()).method == "hull"
    assert sphere.covering_pole(torch.eye(3)).method == "nearest point"
    assert sphere.covering_pole(torch.eye(3)[:2], half_space=True).method == "orthogonal"
    sampled = sphere.covering_pole(random(40, 16))
    assert sampled.method == "descents"
    assert not sampled.is_exact


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (6, 3), (30, 3), (12, 5), (40, 16)])
def test_no_random_pole_is_worse_than_the_one_found(n: int, d: int, half_space: bool) -> None:
    points, poles = unit(random(n, d)), unit(random(20_000, d, seed=1))
    squares = torch.cdist(poles, torch.cat([points, -points]) if half_space else points).square()
    assert sphere.covering_pole(points, half_space=half_space).value >= float(squares.amin(1).max()) - 1e-9
    assert sphere.polarization_pole(points, half_space=half_space).value <= float((1 / squares).mean(1).min()) + 1e-9


@pytest.mark.parametrize(("n", "d"), [(1, 2), (3, 5), (10, 64)])
def test_in_half_space_fewer_points_than_dimensions_leave_a_pole_orthogonal_to_them(n: int, d: int) -> None:
    points = random(n, d)
    assert sphere.polarization_pole(points, half_space=True).value == 0.5
    assert sphere.covering_pole(points, half_space=True).value == pytest.approx(2, abs=1e-12)


def test_points_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="found shape"):
        sphere.covering_pole(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="zeros"):
        sphere.covering_pole(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="NaN"):
        sphere.polarization_pole(torch.tensor([[1.0, math.nan]]))
