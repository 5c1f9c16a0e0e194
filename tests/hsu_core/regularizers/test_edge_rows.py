"""Do a penalty and its gradient hold at the edge: rows nearly parallel, zero, alone or huge, and under autocast?"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from regularizer_laws import (
    ACTS,
    COUNT,
    NARROW,
    PROJECTED,
    TABLE,
    draw,
    errors,
    evaluated,
    every_regularizer,
    few,
    held,
    points,
    seeds,
    value,
    where,
)
from torch import Tensor


@pytest.mark.parametrize("name", [name for name in TABLE if name not in PROJECTED])
@few
@given(
    shape=st.sampled_from([(2, 5), (6, 9), (30, 12), (40, 9)]),
    seed=seeds,
    magnitude=st.floats(-3, -1),
    sign=st.sampled_from([1, -1]),
    length=st.floats(0.1, 10),
)
def test_float32_is_right_with_a_pair_that_is_nearly_parallel_or_antipodal(
    name: str, shape: tuple[int, int], seed: int, magnitude: float, sign: int, length: float
) -> None:
    w = torch.nn.functional.normalize(points(*shape, seed), dim=1)
    w[1] = sign * length * (w[0] + 10**magnitude * torch.nn.functional.normalize(points(1, shape[1], seed + 1))[0])
    assert max(errors(name, w.float())) < 1e-4


@pytest.mark.parametrize("name", PROJECTED)
@few
@given(n=st.sampled_from([2, 9, 40]), seed=seeds, distance=st.sampled_from([1e-3, 1e-2, 1.0]))
def test_float32_is_right_with_a_projected_pair_up_to_the_rounding_of_the_projection(
    name: str, n: int, seed: int, distance: float
) -> None:
    w = torch.nn.functional.normalize(points(n, 60, seed), dim=1)
    w[1] = w[0] + distance * w[1]
    drawn = points(COUNT * 60, 30, seed=7).view(COUNT, 60, 30)
    assert max(errors(name, w.float(), drawn)) < 1e-6 / distance + 1e-5


@pytest.mark.parametrize("name", ["mma", "koleo"])
def test_among_many_that_nearly_coincide_each_finds_its_nearest(name: str) -> None:
    along = torch.tensor([0.0, 1.0, 2.1, 2.4, 4.0, 9.0], dtype=torch.float64) * 1e-4
    w = torch.stack([torch.ones_like(along), along], dim=1).float()
    assert max(errors(name, w)) < 1e-3


@pytest.mark.parametrize("name", where(lengths="free", of_dimension=False))
@few
@given(n=st.integers(2, 12), d=st.integers(2, 9), seed=seeds, zeros=st.sets(st.integers(0, 11), min_size=1))
def test_a_row_of_zeros_counts_as_orthogonal_to_all_and_has_no_gradient(
    name: str, n: int, d: int, seed: int, zeros: set[int]
) -> None:
    w, drawn = points(n, d, seed), draw(name, n, d)
    gone = sorted(row % n for row in zeros)
    w[gone] = 0
    aside, drawn_aside = torch.nn.functional.pad(w, (0, n)), torch.nn.functional.pad(drawn, (0, n))
    aside[gone, torch.tensor(gone) + d] = 1
    if TABLE[name].draws == "planes":
        drawn_aside = torch.nn.functional.pad(drawn, (0, 0, 0, n))
    if TABLE[name].draws == "projections":
        drawn_aside = torch.nn.functional.pad(drawn, (0, n, 0, n))
        drawn_aside[:, d:, NARROW:] = torch.eye(n, dtype=drawn.dtype)
        if d <= NARROW < d + n:
            return  # one of the two is projected, the other is not
    value_, gradient = evaluated(lambda w: value(name, w, drawn=drawn, **held(name)), w)
    torch.testing.assert_close(value_, value(name, aside, drawn=drawn_aside, **held(name)))
    assert gradient.isfinite().all()
    assert (gradient[gone] == 0).all()


@pytest.mark.parametrize("name", [name for name in TABLE if name not in where(lengths="free")])
@few
@given(n=st.integers(1, 9), d=st.integers(1, 9), seed=seeds)
def test_raw_weights_may_be_zeros_one_row_or_one_dimension(name: str, n: int, d: int, seed: int) -> None:
    w = points(n, d, seed).float()
    w[seed % n] = 0
    assert max(errors(name, w)) < 1e-5


@pytest.mark.parametrize("name", where(lengths="free", of_features=False))
@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_a_layer_without_a_pair_or_with_two_directions_is_refused(name: str, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="finds no layer that it could spread: 0 has"):
        value(name, points(*shape), drawn=draw(name, *shape))


@every_regularizer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(name: str, dtype: torch.dtype) -> None:
    w, drawn = points(20, 12).float(), draw(name, 20, 12).float()
    compute = partial(value, name, drawn=drawn, step=ACTS)

    def cast(w: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return compute(w)

    plain, gradient = evaluated(compute, w)
    same, same_gradient = evaluated(cast, w)
    assert same.dtype == torch.float32
    assert torch.equal(same, plain)
    assert torch.equal(same_gradient, gradient)


def finite_of_any_kind(n: int, d: int, seed: int) -> Tensor:
    """Random rows: some zero, some twice, some mirrored, some nearly so; of usual lengths, or of any that there is."""
    generator = torch.Generator().manual_seed(seed)
    w = points(n, d, seed)
    kind = torch.randint(0, 6, (n, 1), generator=generator)
    other = w[torch.randint(0, n, (n,), generator=generator)]
    for number, rows in enumerate((0 * w, other, -other * (1 + 1e-7), other + 1e-6 * w)):
        w = torch.where(kind == number, rows, w)
    if seed % 2:
        w = w * 10.0 ** torch.randint(-45, 39, (n, 1), generator=generator).double()
    largest = torch.finfo(torch.float32).max
    return w.clamp(-largest, largest).float()


@every_regularizer
@settings(max_examples=25)
@given(n=st.integers(2, 24), d=st.integers(2, 9), seed=seeds)
def test_no_finite_weights_give_a_nan(name: str, n: int, d: int, seed: int) -> None:
    drawn = draw(name, n, d).float()
    found, gradient = evaluated(partial(value, name, drawn=drawn, step=ACTS), finite_of_any_kind(n, d, seed))
    assert not found.isnan()
    assert not gradient.isnan().any()
