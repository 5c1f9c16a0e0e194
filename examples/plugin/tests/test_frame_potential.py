"""The formula keeps its laws."""

from __future__ import annotations

import pytest
import torch

from hsu_core import regularizers
from hsu_example.frame_potential import frame_potential
from hsu_example.specs import HsuExampleFrame

GENERATOR = torch.Generator().manual_seed(0)
W = torch.randn(6, 4, dtype=torch.float64, generator=GENERATOR)


def test_its_gradient_is_that_of_its_values() -> None:
    assert torch.autograd.gradcheck(frame_potential, W.clone().requires_grad_())


def test_rotating_scaling_mirroring_and_reordering_neurons_changes_nothing() -> None:
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=GENERATOR))
    lengths = torch.rand(6, 1, dtype=torch.float64, generator=GENERATOR) + 0.5
    for other in (W @ rotation, W * lengths, -W, W.flip(0)):
        assert frame_potential(other) == pytest.approx(frame_potential(W))


def test_orthogonal_neurons_and_tight_frames_have_the_least() -> None:
    assert frame_potential(torch.eye(4)) == 0
    triangle = torch.tensor([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    assert frame_potential(triangle) == pytest.approx((3 / 2 - 1) / (3 - 1))


def test_the_penalty_of_a_model_falls_along_its_gradient() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    penalty = regularizers.build(HsuExampleFrame(), model)
    before = penalty(0)
    before.backward()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight -= 0.1 * layer.weight.grad
    assert penalty(1) < before
