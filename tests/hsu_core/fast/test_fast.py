"""The fast energies against the readable ones: values, and gradients against float64 autograd of the plain formula."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hsu_core import energies, fast
from hsu_core.fast import nearly_parallel, pairs, repulsion

RIESZ = {
    f"riesz s={s} angular={angular} half={half}": ("riesz", {"s": s, "angular": angular, "half_space": half})
    for s, angular, half in itertools.product((0.0, 0.5, 1.0, 2.0), (False, True), (False, True))
}
OTHERS = {
    f"{name} half={half}": (name, {"half_space": half})
    for name, half in itertools.product(("separation", "gram_determinant", "polarization", "covering"), (False, True))
}
ENERGIES: dict[str, tuple[str, dict[str, Any]]] = {**RIESZ, **OTHERS, "resultant": ("resultant", {})}
SHAPES = [(2, 3), (2, 64), (5, 1), (64, 27), (100, 256), (300, 20), (130, 200)]

seeds = st.integers(0, 2**32 - 1)


def points(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs_of(name: str, w: Tensor) -> tuple[Tensor, ...]:
    return (w, points(1, w.shape[1], seed=99).squeeze(0).to(w.dtype)) if name.startswith(("pol", "cov")) else (w,)


def evaluated(module: object, name: str, inputs: tuple[Tensor, ...], **more: object) -> tuple[Tensor, list[Tensor]]:
    """The value, and the gradient by each input."""
    energy, options = ENERGIES[name]
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    value: Tensor = getattr(module, energy)(*leaves, **options, **more)
    return value.detach(), list(torch.autograd.grad(value, leaves))


def error(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm().clamp_min(1e-30)).item()


def errors(name: str, w: Tensor, **more: object) -> list[float]:
    """Relative errors of the value and of the gradients against the plain formula in float64."""
    inputs = inputs_of(name, w)
    value, gradients = evaluated(fast, name, inputs, **more)
    exact, exact_gradients = evaluated(energies, name, tuple(tensor.double() for tensor in inputs))
    return [error(value, exact), *map(error, gradients, exact_gradients)]


def with_a_pair_at(distance: float, n: int, d: int, seed: int = 0) -> Tensor:
    w = points(n, d, seed)
    w[1] = 3 * (w[0] / w[0].norm() + distance * torch.nn.functional.normalize(points(1, d, seed + 1))[0])
    return w.float()


# --- equal to the readable energies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(("n", "d"), [shape for shape in SHAPES if shape[1] > 1])
def test_float32_values_and_gradients_are_those_of_the_plain_formula_in_float64(name: str, n: int, d: int) -> None:
    assert max(errors(name, points(n, d).float())) < 1e-5


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(("n", "d"), [(2, 3), (40, 9), (30, 50)])
def test_float64_values_and_gradients_are_those_of_the_plain_formula(name: str, n: int, d: int) -> None:
    assert max(errors(name, points(n, d))) < 1e-11


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3])
@pytest.mark.parametrize(("n", "d"), [(40, 9), (30, 50)])
def test_float32_is_right_with_a_pair_of_points_that_nearly_coincide(
    name: str, distance: float, n: int, d: int
) -> None:
    assert max(errors(name, with_a_pair_at(distance, n, d))) < 1e-4


@pytest.mark.parametrize("name", [name for name in ENERGIES if name.endswith("half=True")])
def test_float32_is_right_with_a_pair_of_points_that_are_nearly_antipodal(name: str) -> None:
    w = with_a_pair_at(1e-3, 30, 50)
    w[1] *= -1
    assert max(errors(name, w)) < 1e-4


@pytest.mark.parametrize("name", ["polarization half=False", "polarization half=True", "covering half=True"])
def test_float32_is_right_with_a_pole_near_a_point(name: str) -> None:
    w = with_a_pair_at(1e-3, 30, 50)
    inputs = w[1:], w[0]
    value, gradients = evaluated(fast, name, inputs)
    exact, exact_gradients = evaluated(energies, name, tuple(tensor.double() for tensor in inputs))
    assert max(error(value, exact), *map(error, gradients, exact_gradients)) < 1e-4


@pytest.mark.parametrize("name", RIESZ)
@pytest.mark.parametrize(("n", "d"), [(64, 576), (100, 256), (200, 128)])
def test_low_precision_gradients_are_right_to_a_percent(name: str, n: int, d: int) -> None:
    value, gradient = errors(name, points(n, d).float(), low_precision=True)
    assert value < 1e-3
    assert gradient < 1e-2


@pytest.mark.parametrize("half_space", [False, True])
def test_low_precision_separation_is_the_distance_of_a_pair_hardly_farther_apart(*, half_space: bool) -> None:
    w = points(100, 30).float()
    exact = energies.separation(w, half_space=half_space)
    found = fast.separation(w, half_space=half_space, low_precision=True)
    assert exact * (1 - 1e-6) <= found <= exact + 0.02


def test_large_exponents_are_computed_without_overflow() -> None:
    w = points(20, 10).float()
    for s, half_space in itertools.product((17.0, 64.0, 128.0), (False, True)):
        value = fast.riesz(w, s, half_space=half_space)
        torch.testing.assert_close(
            value.double(), energies.riesz(w.double(), s, half_space=half_space), rtol=1e-5, atol=0
        )


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize(("n", "d"), [(6, 4), (3, 5)])
def test_the_gradient_is_the_derivative(name: str, n: int, d: int) -> None:
    energy, options = ENERGIES[name]
    leaves = tuple(tensor.requires_grad_() for tensor in inputs_of(name, points(n, d)))
    assert torch.autograd.gradcheck(partial(getattr(fast, energy), **options), leaves)


@pytest.mark.parametrize("name", [*RIESZ, "separation half=False", "separation half=True"])
@pytest.mark.parametrize("tile", [(1, 1), (3, 4), (5, 100), (100, 100)])
@pytest.mark.parametrize(("n", "d"), [(13, 5), (11, 30)])
def test_streamed_is_dense(name: str, tile: tuple[int, int], n: int, d: int) -> None:
    value, (gradient,) = evaluated(fast, name, (points(n, d),), _tile=tile)
    dense, (dense_gradient,) = evaluated(fast, name, (points(n, d),), _tile=(n, n))
    torch.testing.assert_close(value, dense, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, dense_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in ENERGIES if name.endswith("half=True")])
def test_half_space_is_full_space_on_the_doubled_set(name: str) -> None:
    w, *pole = inputs_of(name, points(9, 6))
    energy, options = ENERGIES[name]
    compute = getattr(fast, energy)
    full = compute(torch.cat([w, -w]), *pole, **{**options, "half_space": False})
    torch.testing.assert_close(compute(w, *pole, **options), full, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("energy", [fast.polarization, fast.covering])
def test_many_poles_give_what_each_gives_alone(energy: Callable[..., Tensor]) -> None:
    w, poles = points(20, 6), points(5, 6, seed=1).requires_grad_()
    together = energy(w, poles, half_space=True)
    alone = torch.stack([energy(w, pole, half_space=True) for pole in poles])
    torch.testing.assert_close(together, alone)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(together @ weights, poles), torch.autograd.grad(alone @ weights, poles)
    )


def finite_of_any_kind(n: int, d: int, seed: int) -> Tensor:
    """Random rows of lengths from 1e-40 to 1e30, some zero, some twice, some mirrored, some nearly so."""
    generator = torch.Generator().manual_seed(seed)
    w = points(n, d, seed)
    kind = torch.randint(0, 5, (n,), generator=generator)
    other = w[torch.randint(0, n, (n,), generator=generator)]
    w = torch.where(kind[:, None] == 0, 0 * w, w)
    w = torch.where(kind[:, None] == 1, other, w)
    w = torch.where(kind[:, None] == 2, -other * (1 + 1e-7), w)
    w = torch.where(kind[:, None] == 3, other + 1e-6 * w, w)
    lengths = 10.0 ** torch.randint(-40, 31, (n, 1), generator=generator).double()
    return (w * (lengths if seed % 2 else 1)).float()


@pytest.mark.parametrize("name", [*ENERGIES, "riesz s=2 low", "riesz s=64"])
@given(n=st.integers(2, 40), d=st.integers(1, 12), seed=seeds)
def test_no_finite_weights_give_a_nan(name: str, n: int, d: int, seed: int) -> None:
    energy, options = ENERGIES.get(name, ("riesz", {"s": 64.0} if "64" in name else {"low_precision": True}))
    leaves = [tensor.requires_grad_() for tensor in inputs_of(energy, finite_of_any_kind(n, d, seed))]
    value = getattr(fast, energy)(*leaves, **options)
    assert not value.isnan()
    assert not any(gradient.isnan().any() for gradient in torch.autograd.grad(value, leaves))


@pytest.mark.parametrize("name", [name for name in ENERGIES if name != "resultant"])
@given(n=st.integers(2, 30), d=st.integers(2, 12), seed=seeds)
def test_an_energy_does_not_change_under_positive_scaling_of_rows(name: str, n: int, d: int, seed: int) -> None:
    energy, options = ENERGIES[name]
    inputs = inputs_of(name, points(n, d, seed))
    lengths = 10.0 ** torch.randint(-100, 100, (n, 1), generator=torch.Generator().manual_seed(seed)).double()
    compute = partial(getattr(fast, energy), **options)
    torch.testing.assert_close(compute(inputs[0] * lengths, *inputs[1:]), compute(*inputs), rtol=1e-8, atol=1e-8)


# --- rows without a direction, points that coincide -------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ENERGIES if name != "resultant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_of_zeros_counts_as_orthogonal_to_all_and_has_no_gradient(name: str, dtype: torch.dtype) -> None:
    w, *pole = inputs_of(name, points(6, 4, dtype=dtype))
    w[2] = 0
    aside = torch.nn.functional.pad(w, (0, 1))
    aside[2, 4] = 1
    energy, options = ENERGIES[name]
    expected = getattr(fast, energy)(aside, *(torch.nn.functional.pad(v, (0, 1)) for v in pole), **options)
    value, (gradient, *_) = evaluated(fast, name, (w, *pole))
    torch.testing.assert_close(value, expected)
    assert gradient.isfinite().all()
    assert (gradient[2] == 0).all()


@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_points_that_coincide_have_the_documented_energy_and_no_force(s: float) -> None:
    w = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).requires_grad_()
    value = fast.riesz(w, s)
    expected = 0.5 - math.log(pairs.CORE) if s == 0 else (1 + s / 2) * pairs.CORE**-s
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert (torch.autograd.grad(value, w)[0] == 0).all()


def test_points_closer_than_the_core_still_repel_each_other() -> None:
    w = torch.tensor([[1.0, 0.0], [1.0, 1e-7]], dtype=torch.float64, requires_grad=True)
    force = torch.autograd.grad(fast.riesz(w, 2.0), w)[0]
    assert force[0, 1] > 0 > force[1, 1]  # descent moves the first down and the second up


def test_separation_of_points_that_coincide_is_zero_without_force() -> None:
    w = points(5, 3).float()
    w[3] = 2 * w[1]
    value, (gradient,) = evaluated(fast, "separation half=True", (w,))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("half_space", [False, True])
def test_among_many_nearly_coinciding_points_separation_finds_the_closest_pair(*, half_space: bool) -> None:
    cluster = torch.tensor([0.0, 1e-3, 2.1e-3, 2.15e-3, 4e-3], dtype=torch.float64)
    w = torch.stack([torch.ones(5, dtype=torch.float64), cluster], dim=1).float()
    exact = energies.separation(w.double(), half_space=half_space)
    torch.testing.assert_close(fast.separation(w, half_space=half_space).double(), exact, rtol=1e-5, atol=0)


def test_orthonormal_rows_are_a_pair_of_distinct_points_at_distance_two_squared() -> None:
    value, (gradient,) = evaluated(fast, "separation half=True", (torch.eye(4, 6),))
    assert value.item() == pytest.approx(2.0)
    assert gradient.isfinite().all()


# --- where a GPU would be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RIESZ)
@pytest.mark.parametrize("shape", [(30, 50), (40, 9)])
def test_the_nearest_partner_of_each_row_is_enough_for_separate_close_pairs(
    name: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repulsion, "close_pairs", nearly_parallel.nearest_partners)
    assert max(errors(name, with_a_pair_at(1e-3, *shape), _tile=(16, 32))) < 1e-4


@pytest.mark.parametrize("name", RIESZ)
def test_more_close_pairs_than_that_have_a_finite_energy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repulsion, "close_pairs", nearly_parallel.nearest_partners)
    w = torch.cat([points(2, 6).repeat(5, 1), -points(2, 6)]).float()
    value, (gradient,) = evaluated(fast, name, (w,))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ENERGIES)
def test_a_value_without_gradient_is_the_same(name: str) -> None:
    energy, options = ENERGIES[name]
    inputs = inputs_of(name, points(20, 30).float())
    with torch.no_grad():
        value = getattr(fast, energy)(*inputs, **options)
    torch.testing.assert_close(value, evaluated(fast, name, inputs)[0])
    assert not getattr(fast, energy)(*inputs, **options).requires_grad


# --- precision and autograd -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32_and_have_gradients_of_their_type(name: str, dtype: torch.dtype) -> None:
    inputs = inputs_of(name, points(20, 30).to(dtype))
    value, gradients = evaluated(fast, name, inputs)
    in_full, gradients_in_full = evaluated(fast, name, tuple(tensor.float() for tensor in inputs))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, in_full)
    for gradient, exact in zip(gradients, gradients_in_full, strict=True):
        torch.testing.assert_close(gradient, exact.to(dtype))


@pytest.mark.parametrize("name", ENERGIES)
def test_autocast_changes_nothing(name: str) -> None:
    inputs = inputs_of(name, points(20, 30).float())
    value, gradients = evaluated(fast, name, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same, same_gradients = evaluated(fast, name, inputs)
    assert torch.equal(value, same)
    assert all(map(torch.equal, gradients, same_gradients))


@pytest.mark.parametrize("name", ENERGIES)
def test_gradients_scale_with_what_comes_after_and_may_be_asked_for_twice(name: str) -> None:
    inputs = inputs_of(name, with_a_pair_at(1e-2, 8, 12))
    energy, options = ENERGIES[name]
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    value = getattr(fast, energy)(*leaves, **options)
    once = torch.autograd.grad(value, leaves, retain_graph=True)
    thrice = torch.autograd.grad(-3 * value, leaves)
    torch.testing.assert_close([-3 * gradient for gradient in once], list(thrice))


def test_a_second_derivative_is_refused_with_a_reason() -> None:
    w = points(4, 3).requires_grad_()
    with pytest.raises(RuntimeError, match=r"cannot be differentiated again.*energies has second derivatives"):
        torch.autograd.grad(fast.riesz(w), w, create_graph=True)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("energy", [fast.riesz, fast.separation])
def test_one_point_has_no_pair_in_full_space(energy: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="at least 2 points, found 1"):
        energy(points(1, 4))


@pytest.mark.parametrize("name", [name for name in ENERGIES if name.endswith("half=True") and "gram" not in name])
def test_one_point_in_half_space_meets_its_mirror_image(name: str) -> None:
    assert max(errors(name, points(1, 4))[:1]) < 1e-12


@pytest.mark.parametrize("s", [-1.0, 129.0, math.nan])
def test_an_exponent_out_of_range_is_refused(s: float) -> None:
    with pytest.raises(ValueError, match="expected an exponent 0 ≤ s ≤ 128, found"):
        fast.riesz(points(3, 3), s)


def test_a_tensor_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match=r"non-empty matrix.*found shape \(0, 4\)"):
        fast.riesz(torch.empty(0, 4))


def test_poles_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in 4 dimensions, found \(2, 2, 4\)"):
        fast.polarization(points(5, 4), torch.ones(2, 2, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_nan_or_an_infinity_never_stays_unseen(name: str, bad: float) -> None:
    w, *pole = inputs_of(name, points(9, 4).float())
    w[4, 1] = bad
    energy, options = ENERGIES[name]
    assert not getattr(fast, energy)(w, *pole, **options).isfinite()
