"""The inner problem of polarization and covering: the way that works, and the authors' way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from torch import Tensor, nn

from hsu_core import fast, regularizers, spec
from hsu_core.regularizers import inner_problem

ICOSAHEDRON = 37.37737
"""The smallest covering radius of 12 points on S², degrees."""


def covering_radius(w: Tensor) -> float:
    """The largest angle from a point of S² to the nearest row, degrees: from the faces of the convex hull."""
    x = torch.nn.functional.normalize(w.detach().double(), dim=1)
    return math.degrees(np.arccos((-ConvexHull(x.numpy()).equations[:, 3]).min()))


def spread(regularizer: spec.Regularizer, *, seed: int, steps: int = 400) -> nn.Linear:
    """A layer of 12 neurons in 3 dimensions after training on its penalty alone."""
    network = nn.Sequential(nn.Linear(3, 12, bias=False), nn.Linear(12, 2))
    network[0].weight.data = torch.randn(12, 3, generator=torch.Generator().manual_seed(seed))
    penalty = regularizers.build(regularizer, network, seed=seed)
    optimizer = torch.optim.Adam([network[0].weight])
    for step in range(steps):
        lr = 0.025 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        penalty(step, lr=lr).backward()
        optimizer.step()
    return network[0]


@pytest.mark.parametrize("kind", [spec.MHC, spec.MHP])
def test_fresh_poles_reach_the_covering_of_12_points(kind: type[spec.MHC | spec.MHP]) -> None:
    layer = spread(kind(half_space=False, hidden_weight=1, final_weight=0), seed=0)
    assert ICOSAHEDRON <= covering_radius(layer.weight) <= 38


def test_the_authors_single_pole_stays_far_from_it() -> None:
    chosen = spec.MHC(half_space=False, hidden_weight=1, final_weight=0, inner=spec.AuthorsPole())
    assert covering_radius(spread(chosen, seed=0).weight) > 45


def test_a_climbed_pole_is_never_lower_for_long() -> None:
    w = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    start = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    climbed = inner_problem.climb(inner_problem.slope(fast.covering, w), start, steps=40)
    assert (fast.covering(w, climbed) > fast.covering(w, start)).all()
    torch.testing.assert_close(climbed.norm(dim=1), torch.ones(16))


def test_in_half_space_the_inner_optimum_with_few_neurons_is_the_same_whatever_the_weights() -> None:
    w = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    found = inner_problem.fresh(
        lambda w, v: -fast.polarization(w, v, half_space=True),
        w,
        count=32,
        steps=60,
        generator=torch.Generator().manual_seed(1),
    )
    assert fast.polarization(w, found, half_space=True).amin().item() == pytest.approx(0.5, abs=1e-3)


def test_the_soft_worst_is_just_below_the_worst() -> None:
    values = torch.tensor([0.1, 0.5, 0.4])
    assert 0.5 - math.log(3) / inner_problem.SHARPNESS <= inner_problem.worst(values).item() <= 0.5


def test_the_authors_pole_moves_by_momentum_and_weight_decay() -> None:
    how = spec.AuthorsPole(steps=2, lr=0.1, momentum=0.5, weight_decay=0.2)
    pole = inner_problem.PersistentPole(how, 3, weight=2.0, generator=torch.Generator().manual_seed(0))
    at = pole().clone().requires_grad_()
    optimizer = torch.optim.SGD([at], lr=0.1, momentum=0.5, weight_decay=0.2)
    w = torch.eye(3)
    pole.advance(fast.covering, w, lr=99.0)
    for _ in range(2):
        optimizer.zero_grad()
        (-2.0 * fast.covering(w, at).sum()).backward()
        optimizer.step()
    torch.testing.assert_close(pole(), at.detach())
