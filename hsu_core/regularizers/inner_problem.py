"""Where are the worst poles for given points? The inner problem of polarization and covering, solved by ascent.

Knows an objective of poles, w ↦ L(w, v) for each of m poles v, which the poles maximise and the weights minimise. Knows
no layers and no weights of a penalty. Two ways: many fresh poles at each step, which works, and the authors' one pole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec

Objective = Callable[[Tensor, Tensor], Tensor]
"""L(w, v): from (n, d) weights and (m, d) poles to the objective at each pole, (m,); or a stack of each."""

FIRST_ANGLE, SHRINK = 0.3, 0.8
"""Radians that a fresh pole moves at its first step, and the ratio of each step to the one before."""

SHARPNESS = 20.0
"""β of the soft maximum over poles: with the hard maximum, one pole acts at a time (12 points on S²: 37.4° to 39.9°
instead of 37.6° from every start)."""


def worst(values: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
    """The soft maximum (1/β) ln mean exp(β L) over poles: below the maximum by at most ln(m)/β."""
    spread = torch.logsumexp(SHARPNESS * values, dim=-1) - math.log(values.shape[-1])
    return spread / SHARPNESS


def fresh(
    objective: Objective, w: Float[Tensor, "n d"], *, count: int, steps: int, generator: torch.Generator | None
) -> Float[Tensor, "m d"]:
    """Random poles, each moved by `steps` steps of ascent on its objective."""
    return climb(slope(objective, w), drawn(count, like=w, generator=generator), steps=steps)


def drawn(count: int, *, like: Float[Tensor, "n d"], generator: torch.Generator | None) -> Float[Tensor, "m d"]:
    """Random poles, not normalised."""
    return torch.randn(count, like.shape[1], dtype=like.dtype, device=like.device, generator=generator)


def climb(slope: Callable[[Tensor], Tensor], poles: Float[Tensor, "*b m d"], *, steps: int) -> Float[Tensor, "*b m d"]:
    """Unit poles, moved along the normalised slope on the sphere by steps that shrink geometrically."""
    poles, angle = _unit(poles), FIRST_ANGLE
    for _ in range(steps):
        uphill = slope(poles)
        tangent = uphill - (uphill * poles).sum(dim=-1, keepdim=True) * poles
        poles, angle = _unit(poles + angle * _unit(tangent)), angle * SHRINK
    return poles


def slope(objective: Objective, w: Float[Tensor, "*b n d"]) -> Callable[[Tensor], Tensor]:
    """The gradient of the objective with respect to each pole."""
    return lambda poles: _gradient(objective, w, poles)


class PersistentPole(nn.Module):
    """The authors' way: one pole for the whole training, moved by momentum SGD with weight decay before each step.

    It is a solver that lags behind: see the catalog's cautions for mhp and mhc.
    """

    pole: Tensor
    velocity: Tensor

    def __init__(
        self, how: spec.AuthorsPole, dimension: int, *, weight: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.how = how
        self.weight = weight
        """The penalty's weight; in the authors' code it scales the pole's objective too."""
        self.register_buffer("pole", torch.randn(1, dimension, generator=generator))
        self.register_buffer("velocity", torch.zeros(1, dimension))

    def forward(self) -> Float[Tensor, "1 d"]:
        """The pole in its present position."""
        return self.pole

    def beside(self, w: Tensor) -> Float[Tensor, "1 d"]:
        """The pole on the device of the points."""
        return self.pole.to(w.device)

    @torch.no_grad()
    def advance(self, objective: Objective, w: Float[Tensor, "n d"], *, lr: float | None) -> None:
        """Move the pole as often as the spec says. ValueError if neither `lr` nor the spec gives a rate."""
        for _ in range(self.how.steps):
            self.move(_gradient(objective, w, self.beside(w)), lr=lr)

    def move(self, uphill: Float[Tensor, "1 d"], *, lr: float | None) -> None:
        """Move once, by the objective's gradient."""
        if uphill.device != self.pole.device:  # `meta`, where nothing moves
            return
        rate = self.how.lr or lr
        if rate is None:
            raise ValueError(
                "an authors' pole moves by the network's learning rate: "
                "expected penalty(step, lr=…) or a spec with inner.lr, found neither"
            )
        force = self.how.weight_decay * self.pole - self.weight * uphill
        self.velocity.mul_(self.how.momentum).add_(force)
        self.pole.sub_(self.velocity, alpha=rate)


@torch.no_grad()
def advance(
    kept: Sequence[PersistentPole], objective: Objective, w: Float[Tensor, "b n d"], *, lr: float | None
) -> None:
    """Move the pole of each layer of a stack as often as the spec says."""
    for _ in range(kept[0].how.steps):
        uphill = _gradient(objective, w, torch.stack([each.beside(w) for each in kept]))
        for each, own in zip(kept, uphill, strict=True):
            each.move(own, lr=lr)


def _gradient(objective: Objective, w: Tensor, poles: Tensor) -> Tensor:
    with torch.enable_grad():
        moving = poles.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(w.detach(), moving).sum(), moving)
    found: Tensor = gradient
    return found


def _unit(v: Float[Tensor, "*b m d"]) -> Float[Tensor, "*b m d"]:
    """Normalise the rows to length 1; a row of zeros stays."""
    length: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return v / length.clamp_min(torch.finfo(v.dtype).tiny)
