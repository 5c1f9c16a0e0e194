"""The losses without pairs at configurations whose values are known; their laws are in regularizers/."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from ot.utils import get_coordinate_circle
from torch import Tensor

from hsu_core import dispersion


def random(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def polygon(n: int) -> Tensor:
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n + 0.3
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_regular_polygon_is_evenly_spaced_in_its_plane(n: int) -> None:
    assert dispersion.sliced_dispersion(polygon(n), random(3 * 2, 2).view(3, 2, 2)).item() == pytest.approx(
        0, abs=1e-15
    )


@pytest.mark.parametrize(("n", "d"), [(5, 3), (40, 8)])
def test_sliced_dispersion_is_the_distance_to_uniform_angles_of_pot(n: int, d: int) -> None:
    """Half the squared 2-Wasserstein distance in radians, less that of even angles, which no n points surpass."""
    points, planes = random(n, d), random(4 * d, 2, seed=1).view(4, d, 2)
    in_planes = points @ torch.linalg.qr(planes).Q
    distances = [ot.semidiscrete_wasserstein2_unif_circle(get_coordinate_circle(each.numpy())) for each in in_planes]
    expected = (2 * math.pi) ** 2 * (np.mean(distances) - 1 / (12 * n**2)) / 2
    assert dispersion.sliced_dispersion(points, planes).item() == pytest.approx(expected)


def test_half_a_polygon_is_evenly_spaced_in_half_space() -> None:
    half, plane = polygon(8)[:4], random(2, 2).view(1, 2, 2)
    assert dispersion.sliced_dispersion(half, plane, half_space=True).item() == pytest.approx(0, abs=1e-15)
    assert dispersion.sliced_dispersion(half, plane).item() > 0.1


def test_sliced_dispersion_of_points_in_one_place_is_the_variance_of_even_angles() -> None:
    together = torch.ones(6, 2, dtype=torch.float64)
    even = (torch.arange(6) - 2.5) * math.pi / 3
    found = dispersion.sliced_dispersion(together, random(2, 2).view(1, 2, 2)).item()
    assert found == pytest.approx(even.double().square().mean().item() / 2)


@pytest.mark.parametrize("n", [3, 8])
def test_lloyd_of_a_regular_polygon_is_the_variance_within_its_arcs(n: int) -> None:
    """The angle to the nearest corner is uniform on [0, π/n], so its mean square is (π/n)²/3."""
    found = dispersion.lloyd(polygon(n), random(200_000, 2)).item()
    assert found == pytest.approx((math.pi / n) ** 2 / 3, rel=0.02)


def test_in_half_space_the_nearest_may_be_a_mirror_image() -> None:
    samples = random(50, 2)
    half = dispersion.lloyd(polygon(8)[:4], samples, half_space=True)
    torch.testing.assert_close(half, dispersion.lloyd(polygon(8), samples))


def test_lloyd_descends_to_the_best_covering_known_of_few_points() -> None:
    """Four points on S²: the tetrahedron, whose neighbours are arccos(−1/3) apart."""
    w = random(4, 3, seed=3).requires_grad_()
    optimizer = torch.optim.Adam([w], lr=0.02)
    for step in range(1500):
        optimizer.zero_grad()
        dispersion.lloyd(w, random(400, 3, seed=step)).backward()
        optimizer.step()
    x = torch.nn.functional.normalize(w.detach(), dim=1)
    cosines = (x @ x.T)[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 3), atol=0.05, rtol=0)


def test_the_distance_of_an_orthonormal_cross_is_0_and_of_one_place_sqrt_2_at_most() -> None:
    cross = torch.cat([torch.eye(5), -torch.eye(5)]).double()
    assert dispersion.wasserstein_uniformity(cross).item() == pytest.approx(0, abs=1e-5)
    together = torch.ones(7, 5, dtype=torch.float64)
    assert dispersion.wasserstein_uniformity(together).item() == pytest.approx(math.sqrt(2))


def test_fewer_features_than_dimensions_have_a_finite_gradient() -> None:
    x = random(4, 9).requires_grad_()
    x.data[1] = x.data[0]
    dispersion.wasserstein_uniformity(x).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_statistic_of_normal_features_is_small_and_has_its_expectation() -> None:
    """For b normal numbers, b·E|φ̂ − φ|² = 1 − e^(−t²), integrated with the weight e^(−t²/2)."""
    expected = math.sqrt(2 * math.pi) - math.sqrt(2 * math.pi / 3)
    found = [dispersion.sliced_gaussian(random(400, 6, seed), random(64, 6, seed + 100)).item() for seed in range(40)]
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.1)
    assert dispersion.sliced_gaussian(3 * random(400, 6), random(64, 6)).item() > 20 * expected
    on_the_sphere = torch.nn.functional.normalize(random(400, 6), dim=1)
    assert dispersion.sliced_gaussian(on_the_sphere, random(64, 6)).item() > 20 * expected


@pytest.mark.parametrize("half_space", [False, True])
def test_the_gradients_are_the_derivatives(half_space: bool) -> None:
    w, samples, planes = random(5, 4).requires_grad_(), random(9, 4, 1), random(12, 2, 2).view(3, 4, 2)
    assert torch.autograd.gradcheck(lambda w: dispersion.lloyd(w, samples, half_space=half_space), w)
    assert torch.autograd.gradcheck(lambda w: dispersion.sliced_dispersion(w, planes, half_space=half_space), w)
    assert torch.autograd.gradcheck(dispersion.wasserstein_uniformity, random(7, 4).requires_grad_())
    assert torch.autograd.gradcheck(lambda x: dispersion.sliced_gaussian(x, samples), w)
