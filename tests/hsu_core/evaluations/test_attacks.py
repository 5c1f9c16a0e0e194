"""Attacks against what they are by hand on a linear network, and what holds for every network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_worlds import training, world
from torch import Tensor, nn

from hsu_core import spec, tasks
from hsu_core.evaluations import attacks
from hsu_core.evaluations.passes import Turns, evaluating
from hsu_core.ranks import ALONE
from hsu_core.tasks.classification import Classification

EPSILONS = (0.0, 0.05, 0.2, 0.5)
SHAPE = (1, 3, 3)


class Linear(nn.Module):
    """Logits that are linear in the pixels."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(start_dim=1) @ self.weight.T


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(12, *SHAPE, generator=generator), torch.arange(12) % 4


def test_fgsm_of_a_linear_network_is_that_by_hand(images: tuple[Tensor, Tensor]) -> None:
    (pixels, classes), network = images, Linear()
    moved = attacks.Victim(network, shape=SHAPE, classes=4).attacked(pixels, classes, spec.FGSM(), 0.1)
    with torch.no_grad():
        excess = network(pixels).softmax(dim=1) - nn.functional.one_hot(classes, 4)
        gradient = (excess @ network.weight).reshape(pixels.shape)
    torch.testing.assert_close(moved, (pixels + 0.1 * gradient.sign()).clamp(0, 1), atol=1e-6, rtol=0)


def test_pgd_with_small_steps_finds_the_worst_corner_of_two_linear_classes() -> None:
    network = Linear()
    with torch.no_grad():
        network.weight[2:] = 0
        network.weight[2:, 0] = -100  # never predicted: two classes are left, and the loss is monotone in each pixel
    pixels, classes = torch.full((2, *SHAPE), 0.5), torch.tensor([0, 1])
    moved = attacks.Victim(network, shape=SHAPE, classes=4).attacked(pixels, classes, spec.PGD(), 0.2)
    toward = (network.weight[1] - network.weight[0]).detach().sign().reshape(SHAPE)
    torch.testing.assert_close(moved, torch.stack([0.5 + 0.2 * toward, 0.5 - 0.2 * toward]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", [spec.FGSM(), spec.PGD(steps=1), spec.PGD(steps=5)])
def test_no_pixel_moves_further_than_epsilon_or_out_of_its_range(
    images: tuple[Tensor, Tensor], method: spec.FGSM | spec.PGD
) -> None:
    victim = attacks.Victim(Linear(), shape=SHAPE, classes=4)
    for epsilon in EPSILONS:
        moved = victim.attacked(*images, method, epsilon)
        assert (moved - images[0]).abs().max() <= epsilon + 1e-6
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_a_random_start_depends_on_the_seed_alone(images: tuple[Tensor, Tensor]) -> None:
    victim = attacks.Victim(Linear(), shape=SHAPE, classes=4)
    np.random.seed(3)
    before: Any = np.random.get_state()
    one = victim.attacked(*images, spec.PGD(steps=1), 0.1, seed=(0, 0))
    assert np.array_equal(np.random.get_state()[1], before[1])
    np.random.seed(4)
    assert torch.equal(one, victim.attacked(*images, spec.PGD(steps=1), 0.1, seed=(0, 0)))
    assert not torch.equal(one, victim.attacked(*images, spec.PGD(steps=1), 0.1, seed=(1, 0)))


def classifying(network: str, **changes: Any) -> Classification:
    chosen = training(network, **changes)
    found = tasks.prepare(chosen, world(chosen.dataset), device=torch.device("cpu"))
    assert isinstance(found, Classification)
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_accuracy_falls_with_epsilon_from_that_of_the_images(precision: str) -> None:
    task = classifying("small_cnn", precision=precision)
    optimizer = torch.optim.Adam(task.model.parameters(), lr=0.01)
    pixels, classes = task.data.test_x, task.data.test_y
    for _ in range(60):  # learn the test images by heart
        optimizer.zero_grad()
        nn.functional.cross_entropy(task.logits(task.model, pixels), classes).backward()
        optimizer.step()
    asked = spec.Attacks(epsilons=EPSILONS)
    with evaluating(task.model):
        rows = attacks.accuracies(asked, task, seed=0, turns=Turns(ALONE, lambda: False))
    for kind in ("fgsm", "pgd"):
        found = [row["accuracy"] for row in rows if row["attack"] == kind]
        assert found[0] == pytest.approx(task.evaluated()["test_accuracy"].item())
        assert max(found[1:]) < found[0]  # type: ignore[type-var]
        if kind == "pgd":  # the one long step of FGSM may overshoot
            assert found == sorted(found, reverse=True), rows
            assert found[-1] < 0.5 * found[0]  # type: ignore[operator]
        assert attacks.summary(rows)[f"{kind}_accuracy"] == found[-1]
    assert task.model.training
    assert all(parameter.requires_grad for parameter in task.model.parameters())


def test_epsilon_is_in_pixels_from_0_to_1_and_not_in_the_networks_inputs() -> None:
    task = classifying("mlp")
    pixels = task.data.test_x[:5]
    with torch.no_grad():
        expected = task.outputs(task.model, ((pixels.float() - 127.5) / 128, task.data.test_y[:5]))
        found = attacks.OfPixels(task)(pixels / 255)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_only_the_first_images_are_attacked_if_so_asked() -> None:
    task, seen = classifying("mlp"), list[int]()
    asked = spec.Attacks(methods=(spec.FGSM(),), epsilons=(0.0,), examples=17)
    task.model.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    attacks.accuracies(asked, task, seed=0, turns=Turns(ALONE, lambda: False))
    assert seen == [16, 1]  # never more at once than in a batch
