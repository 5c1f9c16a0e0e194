"""The losses of others at configurations whose values are known; their laws are in test_regularizer_laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hsu_core import baselines


def random(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def orthonormal(n: int, d: int) -> Tensor:
    return torch.linalg.qr(random(d, n))[0].T


def spectral(w: Tensor) -> Tensor:
    return baselines.spectral_isometry(w, torch.ones(len(w), dtype=w.dtype))


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "so": baselines.soft_orthogonality,
    "dso": baselines.double_soft_orthogonality,
    "mutual_coherence": baselines.mutual_coherence,
    "srip": spectral,
    "mma": baselines.minimal_angles,
    "uniformity": baselines.uniformity,
    "koleo": baselines.koleo,
}
DIRECTIONAL = ("mma", "uniformity", "koleo")


@pytest.mark.parametrize("name", ["so", "dso", "mutual_coherence", "srip"])
def test_orthonormal_rows_are_free(name: str) -> None:
    assert LOSSES[name](orthonormal(5, 5)).item() == pytest.approx(0, abs=1e-12)


def test_soft_orthogonality_of_too_many_rows_is_least_at_a_tight_frame() -> None:
    frame = orthonormal(3, 7).T
    assert baselines.soft_orthogonality(frame).item() == pytest.approx(7 - 3)


def test_the_power_iteration_finds_the_spectral_norm() -> None:
    w = random(8, 5)
    exact = torch.linalg.matrix_norm(w @ w.T - torch.eye(8, dtype=w.dtype), 2)
    found = baselines.spectral_isometry(w, random(8, 1)[:, 0], iterations=300)
    torch.testing.assert_close(found, exact)
    assert baselines.spectral_isometry(w, random(8, 1)[:, 0]) <= exact


def test_the_minimal_angle_of_a_square_is_a_right_angle() -> None:
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert baselines.minimal_angles(square).item() == pytest.approx(-math.pi / 2)


def test_the_simplex_is_the_most_uniform_of_few_features() -> None:
    simplex = torch.eye(4, dtype=torch.float64) - 0.25
    assert baselines.uniformity(simplex).item() == pytest.approx(-2 * 8 / 3)
    assert baselines.uniformity(random(4, 4)) > baselines.uniformity(simplex)
    assert baselines.koleo(simplex).item() == pytest.approx(-math.log(math.sqrt(8 / 3)))


@pytest.mark.parametrize("name", DIRECTIONAL)
def test_a_single_row_has_no_neighbour(name: str) -> None:
    with pytest.raises(ValueError, match="at least 2 rows, found 1"):
        LOSSES[name](random(1, 3))


def test_duplicate_features_keep_a_finite_loss_and_gradient() -> None:
    x = random(3, 4)[[0, 0, 1]].requires_grad_()
    for name in ("uniformity", "koleo"):
        (gradient,) = torch.autograd.grad(LOSSES[name](x), x)
        assert gradient.isfinite().all()
