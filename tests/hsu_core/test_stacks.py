"""Layers of one shape as one stack: the values, gradients and kept state of each alone, for fewer calls.

In a stack nothing may be looked at, as on a GPU, so that these tests run the very way that a GPU goes.
"""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsu_core import baselines, fast

Energy = Callable[[Tensor], Tensor]


def at_poles(energy: Callable[..., Tensor], **options: object) -> Energy:
    """At three poles, the same for every matrix."""
    return lambda w: energy(w, poles_of(w), **options).sum(dim=-1)


def poles_of(w: Tensor) -> Tensor:
    return points(3, w.shape[-1], seed=99).to(w.dtype).expand(*w.shape[:-2], -1, -1)


def stretch(w: Tensor) -> Tensor:
    return baselines.spectral_isometry(w, torch.linspace(-1, 2, w.shape[-2], dtype=w.dtype).expand(w.shape[:-1]))


HALVES = (False, True)
ENERGIES: dict[str, Energy] = {
    **{
        f"riesz s={s} angular={angular} half={half}": partial(fast.riesz, s=s, angular=angular, half_space=half)
        for s, angular, half in itertools.product((0.0, 1.0, 2.0, 3.5, 20.0), HALVES, HALVES)
    },
    **{
        f"{energy.__name__} half={half}": partial(energy, half_space=half)
        for energy, half in itertools.product((fast.separation, fast.gram_determinant), HALVES)
    },
    **{
        f"{energy.__name__} half={half}": at_poles(energy, half_space=half)
        for energy, half in itertools.product((fast.polarization, fast.covering), HALVES)
    },
    "resultant": fast.resultant,
    "soft_orthogonality": baselines.soft_orthogonality,
    "double_soft_orthogonality": baselines.double_soft_orthogonality,
    "mutual_coherence": baselines.mutual_coherence,
    "spectral_isometry": stretch,
    "minimal_angles": baselines.minimal_angles,
}
NEED_A_PAIR = [
    name for name in ENERGIES if name == "minimal_angles" or ("half=False" in name and name[:4] in ("ries", "sepa"))
]

seeds = st.integers(0, 2**32 - 1)


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_any_kind(n: int, d: int, seed: int) -> Tensor:
    """Random rows: some zero, some twice, some mirrored, some nearly so, some long and some short."""
    generator = torch.Generator().manual_seed(seed)
    w = points(n, d, seed)
    kind = torch.randint(0, 8, (n, 1), generator=generator)
    other = w[torch.randint(0, n, (n,), generator=generator)]
    for number, rows in enumerate((0 * w, other, -other, other + 1e-3 * w, 1e-20 * w)):
        w = torch.where(kind == number, rows, w)
    return w


def evaluated(energy: Energy, w: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of their sum."""
    leaf = w.detach().clone().requires_grad_()
    values = energy(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


every_energy = pytest.mark.parametrize("name", ENERGIES)
few = settings(max_examples=15)


# --- laws of a stack --------------------------------------------------------------------------------------------------


@every_energy
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@settings(max_examples=5)
@given(shape=st.sampled_from([(9, 30), (64, 27), (150, 60), (140, 200)]), seed=seeds)
def test_a_stack_has_the_values_and_gradients_of_each_matrix_alone(
    name: str, dtype: torch.dtype, tolerance: float, shape: tuple[int, int], seed: int
) -> None:
    w = torch.stack([points(*shape, seed + layer) for layer in range(3)]).to(dtype)
    values, gradients = evaluated(ENERGIES[name], w)
    for layer, value, gradient in zip(w, values, gradients, strict=True):
        alone, alone_gradient = evaluated(ENERGIES[name], layer)
        assert abs(value - alone) <= tolerance * alone.abs().clamp_min(1)
        assert (gradient - alone_gradient).norm() <= tolerance * alone_gradient.norm()


@every_energy
@few
@given(n=st.integers(1, 30), d=st.integers(1, 12), seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_whatever_the_rows_are_the_rest_of_a_stack_changes_no_bit(
    name: str, n: int, d: int, seed: int, dtype: torch.dtype
) -> None:
    n = max(n, 2) if name in NEED_A_PAIR else n
    w = torch.stack([of_any_kind(n, d, seed + layer) for layer in range(3)]).to(dtype)
    values, gradients = evaluated(ENERGIES[name], w)
    assert not values.isnan().any()
    assert not gradients.isnan().any()
    for k, layer in enumerate(w):
        same, same_gradients = evaluated(ENERGIES[name], layer.repeat(3, 1, 1))
        assert torch.equal(values[k], same[k])
        assert torch.equal(gradients[k], same_gradients[k])


@pytest.mark.parametrize("name", [name for name in ENERGIES if "s=20" not in name])  # too large for float32
@few
@given(seed=seeds, magnitude=st.floats(-3, -1), shape=st.sampled_from([(9, 30), (30, 50), (40, 9)]))
def test_a_pair_that_nearly_coincides_is_as_right_in_a_stack_as_alone(
    name: str, seed: int, magnitude: float, shape: tuple[int, int]
) -> None:
    w = torch.stack([points(*shape, seed + layer) for layer in range(2)])
    w[1, 3] = 2 * w[1, 5] + 10**magnitude * w[1, 3]
    w = w.float()
    values, gradients = evaluated(ENERGIES[name], w)
    exact, exact_gradients = evaluated(ENERGIES[name], w[1].double())
    assert abs(values[1] - exact) <= 1e-4 * exact.abs()
    assert (gradients[1] - exact_gradients).norm() <= 1e-4 * exact_gradients.norm()


@pytest.mark.parametrize("name", [name for name in ENERGIES if "half" in name or name == "resultant"])
def test_autocast_changes_nothing_in_a_stack(name: str) -> None:
    w = torch.stack([points(20, 12, seed) for seed in range(3)]).float()
    plain = evaluated(ENERGIES[name], w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = evaluated(ENERGIES[name], w)
    assert all(map(torch.equal, plain, same))


@pytest.mark.parametrize("tile", [(3, 4), (5, 100)])
@pytest.mark.parametrize("shape", [(13, 5), (11, 30)])
@pytest.mark.parametrize("energy", [fast.riesz, fast.separation])
def test_a_streamed_stack_is_a_dense_one(
    energy: Callable[..., Tensor], shape: tuple[int, int], tile: tuple[int, int]
) -> None:
    w = torch.stack([points(*shape, seed) for seed in range(3)])
    streamed, dense = (evaluated(partial(energy, _tile=size), w) for size in (tile, (13, 13)))
    torch.testing.assert_close(streamed, dense, rtol=1e-10, atol=1e-12)


def test_poles_of_another_stack_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in 4 dimensions, found \(3, 2, 4\)"):
        fast.covering(torch.ones(2, 5, 4), torch.ones(3, 2, 4))
