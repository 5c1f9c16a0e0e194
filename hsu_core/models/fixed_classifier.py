"""Which class vectors are as far from each other as possible? They replace a classifier's weights, and stay."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import fast, spec

STEPS, RATE = 500, 0.05
"""Of the descent of an energy, for more classes than a simplex has vertices."""


def fix(network: nn.Module, how: spec.MaxSeparation, name: str, *, seed: int) -> None:
    """Give the classifier of this name its class vectors; its own bias, if it has one, is 0 and stays."""
    classifier = network.get_submodule(name)
    weight = classifier.weight
    assert isinstance(weight, nn.Parameter)
    vectors = how.scale * separated(*weight.flatten(1).shape, seed=seed)
    with torch.no_grad():
        weight.copy_(vectors.view(weight.shape))
    weight.requires_grad_(False)  # noqa: FBT003
    if isinstance(classifier.bias, Tensor):
        nn.init.zeros_(classifier.bias)
        classifier.bias.requires_grad_(False)  # noqa: FBT003


def separated(classes: int, d: int, *, seed: int) -> Float[Tensor, "classes d"]:
    """Unit vectors: a simplex, whose cosines are −1/(classes − 1), if it fits; else of low Riesz energy, s = 2."""
    generator = torch.Generator().manual_seed(seed)
    if classes <= d + 1:
        turn: Tensor = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
        return (_simplex(classes) @ turn[: classes - 1]).float()
    points = torch.randn(classes, d, generator=generator, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        fast.riesz(points, 2.0).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    found: Tensor = nn.functional.normalize(points.detach(), dim=1)
    return found.float()


def _simplex(n: int) -> Float[Tensor, "n n-1"]:
    """Its vertices, by recursion: one on an axis, the others on the opposite smaller simplex. Kasarla et al., eq. 3."""
    if n == 1:
        return torch.ones(1, 0, dtype=torch.float64)
    if n == 2:
        return torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    first = torch.zeros(1, n - 1, dtype=torch.float64)
    first[0, 0] = 1
    others = math.sqrt(1 - 1 / (n - 1) ** 2) * _simplex(n - 1)
    return torch.cat([first, torch.cat([torch.full((n - 1, 1), -1 / (n - 1), dtype=torch.float64), others], dim=1)])
