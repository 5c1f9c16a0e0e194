"""A model that is not ours, a batch for it, and what its penalty must be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import energies, regularizers, spec

D, CLASSES = 12, 5


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, D, generator=generator), torch.randint(CLASSES, (16,), generator=generator)


class HeadFirst(nn.Module):
    """The classifier is defined first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(8, CLASSES)
        self.body = nn.Sequential(nn.Linear(D, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


def expected(model: nn.Module, *, final: str, hidden: tuple[str, ...]) -> Tensor:
    """Half-space energy of hidden layers plus ten times that of the classifier, of the weights as they are."""
    weights = [model.get_submodule(name).weight.flatten(start_dim=1) for name in hidden]
    last = model.get_submodule(final).weight
    return sum((energies.riesz(w, half_space=True) for w in weights), 10 * energies.riesz(last))


def of_head_first(model: nn.Module) -> Tensor:
    return expected(model, final="head", hidden=("body.0", "body.2"))


def descend(model: nn.Module, penalty: regularizers.Penalty, *, steps: int = 2) -> None:
    x, y = batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        loss = cross_entropy(model(x), y) + penalty(step, lr=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def square() -> nn.Linear:
    return nn.Linear(D, D)


MOVING: list[spec.Regularizer] = [
    spec.MHP(inner=spec.AuthorsPole()),
    spec.MHC(inner=spec.AuthorsPole()),
    spec.CoMHE(projection="angle", dimension=3),
]
"""Regularizers that keep poles or a projection, which move."""
