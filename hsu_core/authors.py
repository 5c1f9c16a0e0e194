"""What exactly do the authors' programs compute? Their losses with all peculiarities, by autograd, before any weight.

Knows (n, d) tensors, or stacks of them. Norms are √(Σw² + 1e-4); mhs, mhp, mhc and mgd normalise points that are
already normalised; angles have 1e-4 added; half space concatenates the negated rows. Lower is better in each, as in
`terms`. Memory grows with a multiple of n². Liu et al. 2018 (arXiv 1805.09298), 2021 (arXiv 2103.01649), Lin et al.
2020 (arXiv 1906.04892).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-4
"""Added under a square root and to an angle."""

DECAY = 5e-7
"""Weight decay of a kept projection: 1e-3 of an L2 term of 5e-4."""


def mhe(
    w: Float[Tensor, "*b n d"], s: float, *, angular: bool = False, half_space: bool = False
) -> Float[Tensor, "*b"]:
    """Mean over pairs of ‖xᵢ − xⱼ‖⁻ˢ or of (θ/π)⁻ˢ; for s = 0 of −ln‖xᵢ − xⱼ‖² (twice ours) or −ln(θ/π)."""
    w = torch.cat([w, -w], dim=-2) if half_space else w
    i, j = torch.triu_indices(w.shape[-2], w.shape[-2], offset=1, device=w.device)
    inner = _inner(w)[..., i, j]
    if angular:
        rho = inner.clamp(-1, 1).acos() / math.pi + EPSILON
        return (-rho.log() if s == 0 else rho.pow(-s)).mean(dim=-1)
    squared = 2 - 2 * inner
    return (-squared.log() if s == 0 else squared.pow(-s / 2)).mean(dim=-1)


def mhs(w: Float[Tensor, "*b n d"], *, half_space: bool = False) -> Float[Tensor, "*b"]:
    """−(the smallest squared distance); pairs that are equal to the last bit add up, such as mirror images."""
    x = _points(w, half_space=half_space)
    i, j = torch.triu_indices(x.shape[-2], x.shape[-2], offset=1, device=x.device)
    squared = 2 - 2 * _inner(x)[..., i, j]
    return -(squared * (squared == squared.amin(dim=-1, keepdim=True))).sum(dim=-1)


def mhp(
    w: Float[Tensor, "*b n d"], poles: Float[Tensor, "*b m d"], *, half_space: bool = False
) -> Float[Tensor, "*b m"]:
    """−(mean of 1/‖v − xᵢ‖²) at each pole v; the pole maximises it."""
    return -_to_poles(w, poles, half_space=half_space).reciprocal().mean(dim=-1)


def mhc(
    w: Float[Tensor, "*b n d"], poles: Float[Tensor, "*b m d"], *, gamma: float = 10.0, half_space: bool = False
) -> Float[Tensor, "*b m"]:
    """The soft minimum −(1/γ) ln mean exp(−γ ‖v − xᵢ‖²) at each pole v; the pole maximises it."""
    squared = _to_poles(w, poles, half_space=half_space)
    soft: Tensor = (math.log(squared.shape[-1]) - torch.logsumexp(-gamma * squared, dim=-1)) / gamma
    return soft


def mgd(w: Float[Tensor, "*b n d"], *, half_space: bool = False) -> Float[Tensor, "*b"]:
    """−ln det(exp(−‖xᵢ − xⱼ‖²) + 1e-6·I)."""
    x = _points(w.double(), half_space=half_space)  # the determinant of a nearly singular kernel
    kernel = torch.exp(2 * _inner(x) - 2) + 1e-6 * torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
    factor, _ = torch.linalg.cholesky_ex(kernel)
    half: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return (-2 * half).to(w.dtype)


def projection_loss(w: Float[Tensor, "n d"], matrix: Float[Tensor, "d p"], *, s: float, kind: str) -> Float[Tensor, ""]:
    """What a projection minimises: ‖cos(wP) − cos(w)‖_F for "angle", −(the full-space energy) for "adversarial"."""
    if kind == "angle":
        norm: Tensor = torch.linalg.vector_norm(_inner(w @ matrix) - _inner(w))
        return norm
    return -mhe(w @ matrix, s)


def stepped(
    w: Float[Tensor, "n d"], matrix: Float[Tensor, "d p"], *, lr: float, s: float, kind: str
) -> Float[Tensor, "d p"]:
    """The matrix after one more step of its own; the weights' gradient passes through this step too."""
    with torch.enable_grad():
        moving = matrix if matrix.requires_grad else matrix.detach().requires_grad_()
        loss = projection_loss(w, moving, s=s, kind=kind)
        (gradient,) = torch.autograd.grad(loss, moving, create_graph=True)
    return moving - lr * gradient


def _norm(w: Tensor) -> Tensor:
    return (w.square().sum(dim=-1, keepdim=True) + EPSILON).sqrt()


def _points(w: Tensor, *, half_space: bool) -> Tensor:
    x = w / _norm(w)
    return torch.cat([x, -x], dim=-2) if half_space else x


def _inner(x: Tensor) -> Tensor:
    norm = _norm(x)
    return (x @ x.mT) / (norm @ norm.mT)


def _to_poles(w: Tensor, poles: Tensor, *, half_space: bool) -> Tensor:
    """The squared distances from each pole to all points."""
    x, poles = _points(w, half_space=half_space), poles.to(w.dtype)
    return 2 - 2 * (poles @ x.mT) / (_norm(poles) @ _norm(x).mT)
