"""How are neurons projected to fewer dimensions? By the projections of compressive MHE.

Knows (n, d) weights and d × p matrices. Lin et al. 2020 (arXiv 1906.04892): random Gaussian matrices, or one kept
matrix that is optimised to preserve the pairwise angles, or to increase the energy.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core.fast.directions import unit_rows

NEARLY_ONE = 1 - 1e-6
"""The largest |cos|: arccos has no gradient at ±1."""


def gaussian(
    d: int, p: int, *, count: int, like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "count d p"]:
    """Matrices with independent entries ~ N(0, 1/p), which preserve lengths on average."""
    drawn: Tensor = torch.randn(count, d, p, dtype=like.dtype, device=like.device, generator=generator)
    return drawn.div_(p**0.5)


class KeptProjection(nn.Module):
    """One matrix for the whole training, moved by gradient descent on its own loss before each step.

    Its entries start from N(0, 1/p), or with the standard deviation `spread`.
    """

    matrix: Tensor

    def __init__(
        self,
        d: int,
        p: int,
        *,
        steps: int,
        like: Tensor,
        generator: torch.Generator | None,
        spread: float | None = None,
    ) -> None:
        super().__init__()
        self.steps = steps
        drawn = gaussian(d, p, count=1, like=like, generator=generator)[0]
        self.register_buffer("matrix", drawn if spread is None else drawn * (spread * p**0.5))

    def forward(self) -> Float[Tensor, "1 d p"]:
        """The present matrix."""
        return self.matrix[None]

    @torch.no_grad()
    def advance(self, loss: Callable[[Tensor], Tensor], *, lr: float) -> None:
        """Move the matrix as often as configured."""
        for _ in range(self.steps):
            with torch.enable_grad():
                moving = self.matrix.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(moving), moving)
            self.matrix.sub_(gradient, alpha=lr)


def distortion(w: Float[Tensor, "n d"], matrix: Float[Tensor, "d p"]) -> Float[Tensor, ""]:
    """Mean over pairs of (θᵢⱼ − θ′ᵢⱼ)², the angles before and after the projection, in radians."""
    change: Tensor = _angles(w) - _angles(w @ matrix)
    return change.square().mean()


def _angles(w: Float[Tensor, "n d"]) -> Float[Tensor, " pairs"]:
    x = unit_rows(w)
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    angles: Tensor = (x @ x.T)[i, j].clamp(-NEARLY_ONE, NEARLY_ONE).arccos()
    return angles
