"""The gap of classes at configurations whose values are known; its laws are in regularizers/."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsu_core import class_gap


def random(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def simplex(c: int) -> Tensor:
    """In c dimensions, of which it fills all but one."""
    return torch.eye(c, dtype=torch.float64) - 1 / c


@pytest.mark.parametrize("c", [2, 3, 10])
def test_collapsed_classes_on_a_simplex_have_the_least_value(c: int) -> None:
    """All ‖v − v'‖² are 2c/(c − 1), as much as the mean of any points can be; the function of it is convex."""
    classes = torch.arange(3 * c) % c
    best = class_gap.uniformity_gap(simplex(c), 5 * simplex(c)[classes], simplex(c)[classes]).item()
    assert best == pytest.approx((c - 1) / (2 * c))
    for seed in range(20):
        vectors = random(c, c, seed)
        assert class_gap.uniformity_gap(vectors, vectors[classes], vectors[classes]).item() > best - 1e-12


def test_opposite_to_its_class_vector_a_feature_is_2_away() -> None:
    vectors = simplex(4)
    apart = class_gap.uniformity_gap(vectors, -vectors, vectors, within=0.25) - class_gap.uniformity_gap(
        vectors, vectors, vectors
    )
    assert apart.item() == pytest.approx(0.25 * 2)


def test_classes_and_features_descend_to_a_simplex_on_which_they_collapse() -> None:
    vectors, x = random(4, 3, 1).requires_grad_(), random(24, 3, 2).requires_grad_()
    classes = torch.arange(24) % 4
    optimizer = torch.optim.Adam([vectors, x], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        class_gap.uniformity_gap(vectors, x, vectors[classes], within=0.1).backward()
        optimizer.step()
        schedule.step()
    v, z = (torch.nn.functional.normalize(each.detach(), dim=1) for each in (vectors, x))
    cosines = (v @ v.T)[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 3), atol=0.02, rtol=0)
    assert (z * v[classes]).sum(dim=1).min() > 0.999


def test_rows_and_their_classes_may_come_in_any_order_and_of_any_length() -> None:
    vectors, x, classes = random(5, 7), random(30, 7, 1), torch.arange(30) % 5
    value = class_gap.uniformity_gap(vectors, x, vectors[classes])
    order, names = torch.randperm(30), torch.randperm(5)
    renamed = names.argsort()[classes[order]]
    lengths = torch.rand(30, 1, dtype=torch.float64) + 0.1
    again = class_gap.uniformity_gap(vectors[names], lengths * x[order], 3 * vectors[names][renamed])
    torch.testing.assert_close(again, value)


def test_a_single_class_has_nothing_to_be_apart_from() -> None:
    one = random(1, 4)
    assert class_gap.uniformity_gap(one, one.expand(3, 4), one.expand(3, 4)).item() == pytest.approx(0, abs=1e-7)


def test_in_float32_a_feature_may_come_close_to_its_class_vector() -> None:
    vectors, step = random(2, 6), random(1, 6, 3)
    x = (vectors[:1] + 1e-4 * step).float()
    own = vectors[:1].float()
    exact = class_gap.uniformity_gap(own.double(), x.double(), own.double()).item()
    assert class_gap.uniformity_gap(own, x, own).item() == pytest.approx(exact, rel=1e-6)


def test_the_gradient_is_the_derivative_by_features_and_by_class_vectors() -> None:
    classes = torch.tensor([0, 2, 1, 1, 0])

    def gap(vectors: Tensor, x: Tensor) -> Tensor:
        return class_gap.uniformity_gap(vectors, x, vectors[classes], within=0.7)

    assert torch.autograd.gradcheck(gap, (random(3, 4).requires_grad_(), random(5, 4, 1).requires_grad_()))
