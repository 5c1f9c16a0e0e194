"""What is the direction of a row? Weights as unit vectors, for any lengths.

Knows rows and lengths. Knows no energies. A row of zeros has no direction: its unit vector is 0, and so is its
gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.fast.closed_form import Evaluated, closed_form

SAFE = (1e-15, 1e15)
"""The range of lengths whose products with each other are normal numbers in float32."""

SHORTEST = 1e-24
"""A shorter row counts as this long in its gradient, which grows with 1/length and would exceed float32."""


class Directions(NamedTuple):
    """Unit vectors uᵢ = scaleᵢ·rowsᵢ, and how a force on uᵢ becomes one on wᵢ."""

    rows: Float[Tensor, "*b n d"]
    scale: Float[Tensor, "*b n"]
    lever: Float[Tensor, "*b n"]
    """1/‖wᵢ‖: the gradient by wᵢ is lever times the part of the gradient by uᵢ that is orthogonal to uᵢ."""
    weights: Float[Tensor, "*b n d"]
    """wᵢ, unrounded."""

    @property
    def units(self) -> Float[Tensor, "*b n d"]:
        """The unit vectors themselves."""
        return self.rows * self.scale[..., None]


def may_look(at: Tensor) -> bool:
    """Whether the code may depend on a tensor's value: not in a stack, where each matrix has its own, nor on a GPU.

    On a GPU, reading a value would make the host wait.
    """
    return at.ndim <= 2 and at.device.type == "cpu"


def directions(w: Float[Tensor, "*b n d"]) -> Directions:
    """Directions of the rows of w; rows of usual lengths are not scaled, which saves a pass over w.

    If the lengths must not be read, all rows are normalized.
    """
    if not may_look(w):
        return normalized(w)
    length = torch.linalg.vector_norm(w, dim=1)
    shortest, longest = length.aminmax()
    if not (SAFE[0] < shortest.item() and longest.item() < SAFE[1]):  # in this form, a NaN is not safe
        return normalized(w)
    lever = length.reciprocal_()
    return Directions(w, lever, lever, w)


def normalized(w: Float[Tensor, "*b n d"]) -> Directions:
    """Directions of rows of any finite length, from the smallest to the largest number of the type, and of zeros.

    A row with a NaN or an infinity has a NaN direction.
    """
    largest = w.abs().amax(dim=-1)
    within = w / torch.where(largest == 0, 1, largest)[..., None]  # in [−1, 1], so that no square overflows
    length = torch.linalg.vector_norm(within, dim=-1)
    units = within.div_(torch.where(length == 0, 1, length)[..., None])
    lever = torch.where(largest == 0, 0, (largest * length).clamp_min(SHORTEST).reciprocal())
    return Directions(units, torch.ones_like(lever), lever, w)


def unit_rows(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
    """The unit vectors themselves, differentiable once: autograd's gradient of a quotient overflows for tiny rows."""
    return closed_form(_unit_rows, computable(w))


def computable(w: Tensor) -> Tensor:
    """The weights in float32, or unchanged in float64; ValueError unless (n, d) or (b, n, d), and not empty."""
    if w.ndim not in (2, 3) or w.numel() == 0:
        raise ValueError(f"expected a non-empty matrix of n neurons × d inputs, found shape {tuple(w.shape)}")
    return w if w.dtype in (torch.float32, torch.float64) else w.float()


def check_pairs(w: Float[Tensor, "*b n d"], *, half_space: bool) -> None:
    """Raise ValueError if there is no pair: a single point in full space."""
    if w.shape[-2] < 2 and not half_space:
        raise ValueError(f"an energy of pairs needs at least 2 points, found {w.shape[-2]}; in half space 1 would do")


def _unit_rows(w: Float[Tensor, "*b n d"], **_: object) -> Evaluated:
    at = normalized(w)
    return at.rows, _orthogonal_part, (at.rows, at.lever)


def _orthogonal_part(factor: Tensor, units: Tensor, lever: Tensor) -> tuple[Tensor]:
    radial = torch.linalg.vecdot(factor, units)
    return (torch.addcmul(factor, units, radial[..., None], value=-1).mul_(lever[..., None]),)
