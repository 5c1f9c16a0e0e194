"""The yardstick: the authors' regularizers, line by line in torch, with their quirks and without their weights.

Knows (n, d) tensors. Half space concatenates the negated rows. Norms are √(Σw² + 1e-4), and mhs, mhp, mhc and mgd take
them of points that were already normalized. Angles have 1e-4 added. Values have the sign of theirs, and agree with what
their TensorFlow 1 code returns. Liu et al. 2018 (arXiv 1805.09298), Liu et al. 2021 (arXiv 2103.01649).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-4


def mhe(w: Tensor, power: str = "2", *, half_space: bool = False) -> Tensor:
    """Mean over pairs of −ln‖xᵢ − xⱼ‖² ("0"), ‖·‖⁻¹ ("1"), ‖·‖⁻² ("2"), or of −ln θ, 1/θ, 1/θ² ("a0", "a1", "a2")."""
    w = torch.cat([w, -w]) if half_space else w
    n = len(w)
    norm = _norm(w)
    inner = (w @ w.T) / (norm @ norm.T)
    if power.startswith("a"):
        theta = torch.acos(inner.clamp(-1, 1) * (1 - torch.eye(n, dtype=w.dtype, device=w.device))) / math.pi + EPSILON
        terms = -theta.log() if power == "a0" else theta.pow(-float(power[1]))
    else:
        squared = 2 - 2 * inner + torch.eye(n, dtype=w.dtype, device=w.device)
        terms = -squared.log() if power == "0" else squared.pow(-float(power) / 2)
    return (terms - terms.tril()).sum() / (n * (n - 1) / 2)


def mhs(w: Tensor, *, half_space: bool = False) -> Tensor:
    """The smallest squared distance, negated; pairs that tie in the last bit add up, as mirror images do."""
    x = _points(w, half_space=half_space)
    squared = 2 - 2 * _inner(x) + 10 * torch.ones(len(x), len(x), dtype=x.dtype, device=x.device).tril()
    return -(squared * (squared == squared.min())).sum()


def mhp(w: Tensor, pole: Tensor, *, half_space: bool = False) -> Tensor:
    """Mean of 1/‖v − xᵢ‖² at the pole v, which the pole lowers and the weights raise."""
    return _to_pole(w, pole, half_space=half_space).reciprocal().mean()


def mhc(w: Tensor, pole: Tensor, *, half_space: bool = False) -> Tensor:
    """Soft minimum −(1/10) ln mean exp(−10 ‖v − xᵢ‖²) at the pole v."""
    return -(-10 * _to_pole(w, pole, half_space=half_space)).exp().mean().log() / 10


def mgd(w: Tensor, *, half_space: bool = False) -> Tensor:
    """−ln det(exp(−‖xᵢ − xⱼ‖²) + 1e-6·I)."""
    x = _points(w, half_space=half_space)
    kernel = torch.exp(-(2 - 2 * _inner(x)))
    return -torch.logdet(kernel + 1e-6 * torch.eye(len(x), dtype=x.dtype, device=x.device))


def rmhp(w: Tensor) -> Tensor:
    """‖Σ wᵢ‖."""
    return w.sum(dim=0).norm()


def comhe(w: Tensor, projection: Tensor, lr: float, *, kind: str) -> Tensor:
    """Half-space mhe, s = 2, of w·Pᵀ after one step of P, the gradient through that step included.

    P is (p, d). "angle": P descends on ‖cos(w·Pᵀ) − cos(w)‖_F; "adversarial": P ascends on the full-space energy.
    Lin et al. 2020 (arXiv 1906.04892).
    """
    if kind == "angle":
        loss, sign = (_inner(w @ projection.T) - _inner(w)).norm(), -1
    else:
        loss, sign = mhe(w @ projection.T), 1
    (step,) = torch.autograd.grad(loss, projection, create_graph=True)
    return mhe(w @ (projection + sign * lr * step).T, half_space=True)


def _norm(w: Tensor) -> Tensor:
    return (w.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()


def _points(w: Tensor, *, half_space: bool) -> Tensor:
    x = w / _norm(w)
    return torch.cat([x, -x]) if half_space else x


def _inner(x: Tensor) -> Tensor:
    norm = _norm(x)
    return (x @ x.T) / (norm @ norm.T)


def _to_pole(w: Tensor, pole: Tensor, *, half_space: bool) -> Tensor:
    x = _points(w, half_space=half_space)
    inner = (x @ pole[:, None]) / (_norm(x) * _norm(pole[None]))
    return 2 - 2 * inner
