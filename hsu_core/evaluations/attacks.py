"""How many images does a network still classify if an attacker moves their pixels? FGSM and PGD, by ART.

Knows images from 0 (black) to 1 (white), in which ε is given. The network's own normalisation is part of what is
attacked, so gradients pass through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, assert_never

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.evaluations.passes import Turns
from hsu_core.tasks.classification import Classification

AT_ONCE = 128
"""Images attacked at once, at most, and never more than in a training batch: what gradients need must fit."""


class OfPixels(nn.Module):
    """A task's network as a function of pixels from 0 to 1."""

    def __init__(self, task: Classification) -> None:
        super().__init__()
        self.network, self.task = task.model, task

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits in float32."""
        return self.task.logits(self.network, 255 * pixels)


def accuracies(asked: spec.Attacks, task: Classification, *, seed: int, turns: Turns) -> list[dict[str, str | float]]:
    """A row for each attack and each ε, in the spec's order: `attack`, `epsilon`, `accuracy`."""
    count = asked.examples or len(task.data.test_y)
    at_once = min(task.data.size, AT_ONCE)
    network = OfPixels(task).eval()
    victim = Victim(network, shape=tuple(task.data.test_x.shape[1:]), classes=task.classes)
    cells = list(product(asked.methods, asked.epsilons))
    hits = torch.zeros(len(cells), dtype=torch.float64, device=task.device)
    for (first, number), is_mine in turns.of(product(range(0, count, at_once), range(len(cells)))):
        if not is_mine:
            continue
        chosen = slice(first, min(first + at_once, count))
        pixels, classes = task.data.test_x[chosen] / 255, task.data.test_y[chosen]
        moved = victim.attacked(pixels, classes, *cells[number], seed=(seed, first))
        with torch.no_grad():
            hits[number] += (network(moved).argmax(dim=1) == classes).sum()
    of_cells = (turns.total(hits) / count).tolist()
    return [
        {"attack": method.kind, "epsilon": epsilon, "accuracy": accuracy}
        for (method, epsilon), accuracy in zip(cells, of_cells, strict=True)
    ]


def summary(rows: list[dict[str, str | float]]) -> dict[str, float]:
    """The accuracy of each attack at its largest ε."""
    by_epsilon = sorted(rows, key=lambda row: row["epsilon"])
    return {f"{row['attack']}_accuracy": float(row["accuracy"]) for row in by_epsilon}


class Victim:
    """A network under attack."""

    def __init__(self, network: nn.Module, *, shape: tuple[int, ...], classes: int) -> None:
        from art.estimators.classification import PyTorchClassifier  # two seconds that only attacks need

        device = next(network.parameters()).device
        self.device = device
        self.classifier = PyTorchClassifier(
            network,
            loss=nn.CrossEntropyLoss(),
            input_shape=shape,
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if device.type == "cuda" else "cpu",
        )

    def attacked(
        self,
        pixels: Float[Tensor, "n c h w"],
        classes: Int64[Tensor, " n"],
        method: spec.FGSM | spec.PGD,
        epsilon: float,
        *,
        seed: tuple[int, ...] = (0,),
    ) -> Float[Tensor, "n c h w"]:
        """The images, each pixel moved by ε at most and clipped to 0 … 1, so that the loss of their classes rises.

        A random start depends on `seed` alone; numpy's global generator is as before.
        """
        if epsilon == 0:
            return pixels
        with _seeded(seed):
            moved: ndarray = self._attack(method, epsilon, at_once=len(pixels)).generate(
                pixels.cpu().numpy(), y=classes.cpu().numpy()
            )
        return torch.from_numpy(moved).to(self.device)

    def _attack(self, method: spec.FGSM | spec.PGD, epsilon: float, *, at_once: int) -> Any:
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch

        match method:
            case spec.FGSM():
                return FastGradientMethod(self.classifier, norm=np.inf, eps=epsilon, batch_size=at_once)
            case spec.PGD(steps=steps):
                return ProjectedGradientDescentPyTorch(
                    self.classifier,
                    norm=np.inf,
                    eps=epsilon,
                    eps_step=min(epsilon, 2.5 * epsilon / steps),
                    max_iter=steps,
                    num_random_init=1,
                    batch_size=at_once,
                    verbose=False,
                )
            case _:
                assert_never(method)


@contextmanager
def _seeded(entropy: tuple[int, ...]) -> Iterator[None]:
    """Inside, numpy's global generator, from which ART draws, depends on the entropy alone."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(entropy, spawn_key=(3,)).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(before)
