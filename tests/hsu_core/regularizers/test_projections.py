"""The projections of compressive MHE."""

from __future__ import annotations

import pytest
import torch

from hsu_core import fast
from hsu_core.regularizers.projections import KeptProjection, distortion, gaussian

W = torch.randn(10, 40, generator=torch.Generator().manual_seed(0))


def kept() -> KeptProjection:
    return KeptProjection(40, 6, steps=20, like=W, generator=torch.Generator().manual_seed(1))


def test_a_gaussian_projection_keeps_lengths_in_the_mean() -> None:
    matrices = gaussian(40, 6, count=500, like=W, generator=torch.Generator().manual_seed(0))
    assert (W @ matrices).square().sum(dim=2).mean().item() == pytest.approx(
        W.square().sum(dim=1).mean().item(), rel=0.1
    )


def test_an_angle_preserving_projection_learns_to_preserve_them() -> None:
    projection = kept()
    before = distortion(W, projection.matrix)
    projection.advance(lambda matrix: distortion(W, matrix), lr=0.05)
    assert distortion(W, projection.matrix) < before


def test_an_adversarial_projection_raises_the_energy() -> None:
    projection = kept()
    before = fast.riesz(W @ projection.matrix)
    projection.advance(lambda matrix: -fast.riesz(W @ matrix), lr=0.05)
    assert fast.riesz(W @ projection.matrix) > before


def test_nothing_is_distorted_without_a_projection() -> None:
    assert distortion(W, torch.eye(40)).item() == pytest.approx(0, abs=1e-9)
