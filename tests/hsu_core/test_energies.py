"""The energies against laws that hold whatever the weights, and against configurations whose values are known."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hsu_core import energies

POLE = torch.tensor([0.3, -1.2, 0.7, 0.1, 2.0], dtype=torch.float64)

OF_DIRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{
        f"riesz s={s} angular={angular} half={half}": partial(energies.riesz, s=s, angular=angular, half_space=half)
        for s, angular, half in itertools.product((0.0, 0.5, 1.0, 2.0), (False, True), (False, True))
    },
    **{f"separation half={half}": partial(energies.separation, half_space=half) for half in (False, True)},
    **{f"gram_determinant half={half}": partial(energies.gram_determinant, half_space=half) for half in (False, True)},
}
AT_A_POLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    f"{energy.__name__} half={half}": partial(energy, half_space=half)  # type: ignore[operator]
    for energy, half in itertools.product((energies.polarization, energies.covering), (False, True))
}

seeds = st.integers(0, 2**32 - 1)


def points(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(points(d, d, seed))[0]


def simplex(n: int, d: int) -> Tensor:
    """n ≤ d + 1 points with inner products −1/(n − 1): the rows of the centred identity, in d coordinates."""
    centred = torch.eye(n, dtype=torch.float64) - 1 / n
    basis = torch.linalg.svd(centred)[2][: n - 1]
    return torch.nn.functional.pad(centred @ basis.T, (0, d - n + 1))


def icosahedron() -> Tensor:
    golden = (1 + math.sqrt(5)) / 2
    signs = itertools.product((1.0, -1.0), repeat=2)
    corners = [corner for a, b in signs for corner in ([0, a, b * golden], [a, b * golden, 0], [b * golden, 0, a])]
    return torch.tensor(corners, dtype=torch.float64)


def octahedron() -> Tensor:
    return torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_DIRECTIONS)
@given(n=st.integers(2, 12), d=st.integers(2, 9), seed=seeds)
def test_an_energy_does_not_change_under_rotation_permutation_and_positive_scaling(
    name: str, n: int, d: int, seed: int
) -> None:
    w = points(n, d, seed)
    energy = OF_DIRECTIONS[name]
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.rand(n, 1, generator=generator, dtype=torch.float64) * 100 + 0.01
    for moved in (w @ rotation(d, seed + 1), w[torch.randperm(n, generator=generator)], w * lengths):
        torch.testing.assert_close(energy(moved), energy(w), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", AT_A_POLE)
@given(n=st.integers(1, 12), seed=seeds)
def test_an_energy_at_a_pole_does_not_change_when_points_and_pole_move_together(name: str, n: int, seed: int) -> None:
    w, energy, turn = points(n, 5, seed), AT_A_POLE[name], rotation(5, seed + 1)
    torch.testing.assert_close(energy(w @ turn, POLE @ turn), energy(w, POLE), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(energy(3 * w.flip(0), 7 * POLE), energy(w, POLE), rtol=1e-8, atol=1e-8)


@given(n=st.integers(1, 12), seed=seeds, factor=st.floats(0.01, 100))
def test_the_resultant_is_rotation_invariant_and_proportional_to_the_weights(n: int, seed: int, factor: float) -> None:
    w = points(n, 5, seed)
    torch.testing.assert_close(energies.resultant(w @ rotation(5, seed + 1)), energies.resultant(w))
    torch.testing.assert_close(energies.resultant(factor * w), factor * energies.resultant(w))


@pytest.mark.parametrize("name", [name for name in OF_DIRECTIONS if name.endswith("half=True")])
@given(n=st.integers(1, 8), seed=seeds)
def test_half_space_is_full_space_on_the_doubled_set(name: str, n: int, seed: int) -> None:
    w = points(n, 4, seed)
    full = OF_DIRECTIONS[name.replace("half=True", "half=False")]
    torch.testing.assert_close(OF_DIRECTIONS[name](w), full(torch.cat([w, -w])))


@pytest.mark.parametrize("name", AT_A_POLE)
def test_half_space_at_a_pole_is_full_space_on_the_doubled_set(name: str) -> None:
    w = points(6, 5)
    full = AT_A_POLE[name.replace("half=True", "half=False")]
    torch.testing.assert_close(AT_A_POLE[name](w, POLE), full(torch.cat([w, -w]) if "True" in name else w, POLE))


@pytest.mark.parametrize("name", OF_DIRECTIONS)
def test_the_gradient_is_the_derivative(name: str) -> None:
    assert torch.autograd.gradcheck(OF_DIRECTIONS[name], points(6, 4).requires_grad_())


@pytest.mark.parametrize("name", AT_A_POLE)
def test_the_gradient_is_the_derivative_in_points_and_pole(name: str) -> None:
    assert torch.autograd.gradcheck(AT_A_POLE[name], (points(6, 5).requires_grad_(), POLE.clone().requires_grad_()))


def test_the_gradient_of_the_resultant_is_the_derivative() -> None:
    assert torch.autograd.gradcheck(energies.resultant, points(6, 4).requires_grad_())


# --- float32 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("name", [name for name in OF_DIRECTIONS if name.startswith(("riesz", "separation"))])
def test_float32_is_right_for_points_that_nearly_coincide(name: str, distance: float) -> None:
    along = torch.eye(2, 9, dtype=torch.float64)
    pair = torch.stack([along[0], along[0] + distance * along[1]])
    w = torch.cat([pair, points(4, 9)]).float().requires_grad_()
    exact = w.detach().double().requires_grad_()
    energy = OF_DIRECTIONS[name]
    energy(w).backward()
    energy(exact).backward()
    torch.testing.assert_close(energy(w).double(), energy(exact), rtol=1e-5, atol=0)
    assert w.grad is not None
    assert exact.grad is not None
    assert (w.grad.double() - exact.grad).norm() < 1e-5 * exact.grad.norm()


@pytest.mark.parametrize("name", [name for name in OF_DIRECTIONS if name.endswith("half=False")])
def test_gradients_are_finite_for_antipodal_points(name: str) -> None:
    w = octahedron().float().requires_grad_()
    OF_DIRECTIONS[name](w).backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()


def test_the_gram_determinant_of_nearly_coinciding_points_is_right_in_float32() -> None:
    w = torch.cat([points(4, 9), points(4, 9) + 1e-4]).float()
    torch.testing.assert_close(
        energies.gram_determinant(w).double(), energies.gram_determinant(w.double()), rtol=1e-6, atol=0
    )


# --- known configurations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "thomson", "logarithmic", "riesz2", "degrees"),
    [
        (simplex(4, 3), 3.674234614, -2.942487759, 2.25, 109.4712206),
        (octahedron(), 9.985281374, -6.238324625, 6.75, 90.0),
        (icosahedron(), 49.165253058, -21.60614523, 39.0, 63.4349488),
    ],
    ids=["tetrahedron", "octahedron", "icosahedron"],
)
def test_platonic_solids_have_their_published_energies(
    shape: Tensor, thomson: float, logarithmic: float, riesz2: float, degrees: float
) -> None:
    pairs = len(shape) * (len(shape) - 1) / 2
    assert energies.riesz(shape, 1.0).item() * pairs == pytest.approx(thomson, rel=1e-9)
    assert energies.riesz(shape, 0.0).item() * pairs == pytest.approx(logarithmic, rel=1e-8)
    assert energies.riesz(shape, 2.0).item() * pairs == pytest.approx(riesz2, rel=1e-8)
    closest = 2 * math.asin(math.sqrt(energies.separation(shape).item()) / 2)
    assert math.degrees(closest) == pytest.approx(degrees, abs=1e-5)


@pytest.mark.parametrize(("n", "d"), [(4, 3), (5, 4), (9, 8), (10, 64), (100, 256)])
def test_a_simplex_has_the_optimal_value(n: int, d: int) -> None:
    w, squared = simplex(n, d), 2 * n / (n - 1)
    assert energies.separation(w).item() == pytest.approx(squared, abs=1e-10)
    assert energies.riesz(w, 2.0).item() == pytest.approx(1 / squared, abs=1e-10)
    assert energies.riesz(w, 1.0).item() == pytest.approx(squared**-0.5, abs=1e-10)
    assert energies.riesz(w, 0.0).item() == pytest.approx(-math.log(squared) / 2, abs=1e-10)
    angle = math.acos(-1 / (n - 1)) / math.pi
    assert energies.riesz(w, 1.0, angular=True).item() == pytest.approx(1 / angle, abs=1e-10)


@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize(("n", "d"), [(3, 3), (8, 8), (16, 64), (64, 576)])
def test_orthonormal_rows_have_the_optimal_half_space_value(n: int, d: int, s: float, angular: bool) -> None:
    def kernel(distance: float) -> float:
        return -math.log(distance) if s == 0 else distance**-s

    right, opposite = (0.5, 1.0) if angular else (math.sqrt(2), 2.0)
    optimum = (2 * n * (n - 1) * kernel(right) + n * kernel(opposite)) / (n * (2 * n - 1))
    w = rotation(d, 3)[:n]
    assert energies.riesz(w, s, angular=angular, half_space=True).item() == pytest.approx(optimum, abs=1e-10)


@pytest.mark.parametrize("shape", [simplex(5, 4), simplex(10, 64)], ids=["n=d+1", "n<d"])
@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_nothing_near_a_simplex_is_better(shape: Tensor, s: float) -> None:
    near = shape + 0.05 * points(*shape.shape, seed=4)
    assert energies.riesz(near, s) > energies.riesz(shape, s)
    assert energies.separation(near) < energies.separation(shape)


@pytest.mark.parametrize(
    ("shape", "pole", "value"),
    [
        (octahedron(), [1.0, 1.0, 1.0], 0.75),
        (simplex(4, 3), None, 0.625),
        (torch.cat([torch.eye(64), -torch.eye(64)]).double(), [1.0] * 64, 0.5079365079365079),
    ],
    ids=["octahedron", "tetrahedron", "cross-polytope"],
)
def test_polarization_has_its_known_value_at_the_best_pole(
    shape: Tensor, pole: list[float] | None, value: float
) -> None:
    best = -shape[0] if pole is None else torch.tensor(pole, dtype=torch.float64)
    assert energies.polarization(shape, best).item() == pytest.approx(value, abs=1e-12)


def test_a_pole_orthogonal_to_every_neuron_sees_the_half_space_degeneracy() -> None:
    w, pole = torch.eye(5, 8, dtype=torch.float64), torch.eye(8, dtype=torch.float64)[7]
    assert energies.polarization(w, pole, half_space=True).item() == pytest.approx(0.5)
    assert energies.covering(w, pole, half_space=True).item() == pytest.approx(2.0)


def test_covering_approaches_the_nearest_squared_distance_as_gamma_grows() -> None:
    pole = torch.ones(3, dtype=torch.float64)
    nearest = 2 - 2 * math.cos(math.radians(54.735610317245346))
    assert energies.covering(octahedron(), pole, gamma=1e6).item() == pytest.approx(nearest, abs=1e-5)
    assert nearest <= energies.covering(octahedron(), pole).item() <= nearest + math.log(6) / 10


@pytest.mark.parametrize(
    ("w", "half_space", "value"),
    [
        (simplex(100, 99), False, -11.43809),
        (torch.eye(64, dtype=torch.float64), True, -16.61073),
        (torch.eye(128, dtype=torch.float64), True, -35.73433),
    ],
    ids=["simplex 100", "orthonormal 64", "orthonormal 128"],
)
def test_the_gram_determinant_has_its_known_value(w: Tensor, half_space: bool, value: float) -> None:
    assert energies.gram_determinant(w, half_space=half_space).item() == pytest.approx(value, abs=1e-5)


def test_the_resultant_of_a_simplex_vanishes_with_a_finite_gradient() -> None:
    w = octahedron().requires_grad_()
    energies.resultant(w).backward()
    assert energies.resultant(w).item() == 0
    assert w.grad is not None
    assert w.grad.isfinite().all()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("energy", [energies.riesz, energies.separation])
def test_one_point_has_no_pair_in_full_space(energy: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="at least 2 points, found 1"):
        energy(points(1, 4))
    assert energy(points(1, 4), half_space=True).isfinite()


def test_a_tensor_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match=r"non-empty matrix.*found shape \(0, 4\)"):
        energies.riesz(torch.empty(0, 4))


def test_a_nan_stays_a_nan() -> None:
    w = points(4, 3)
    w[1, 1] = torch.nan
    for energy in OF_DIRECTIONS.values():
        assert energy(w).isnan()
