"""What do we minimise? The hyperspherical energies as pure functions, written as a readable reference.

Knows (n, d) tensors: n neurons as rows, x = w/‖w‖ their directions. Knows no layers, no weights of a penalty, no sign
that makes lower better, no eps. All functions are differentiable and correct in float32 for near-duplicates. Half space
means the full-space quantity on the doubled set {xᵢ} ∪ {−xᵢ}, including its antipodal pairs (xᵢ, −xᵢ).

A row of zeros has no direction: the result is then NaN. Memory grows with n², and by d for each nearly parallel pair.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

NEARLY_PARALLEL = 0.95
"""|cos| above which a distance is computed from differences: there 2 − 2cos loses a digit in float32, at 1 all."""


def riesz(
    w: Float[Tensor, "n d"], s: float = 2.0, *, angular: bool = False, half_space: bool = False
) -> Float[Tensor, ""]:
    """Mean over pairs i < j of ρᵢⱼ⁻ˢ, or of −ln ρᵢⱼ for s = 0.

    ρᵢⱼ = ‖xᵢ − xⱼ‖, or with `angular` the angle arccos(xᵢ·xⱼ)/π in (0, 1]. Infinite when two points coincide.
    Liu et al. 2018 (arXiv 1805.09298), eq. 1, as a mean. ValueError without a pair: n = 1 in full space.
    """
    apart, together = _pair_distances(_points(w, half_space=half_space))
    rho = 2 / math.pi * torch.atan2(apart, together) if angular else apart
    return -rho.log().mean() if s == 0 else rho.pow(-s).mean()


def separation(w: Float[Tensor, "n d"], *, half_space: bool = False) -> Float[Tensor, ""]:
    """The smallest ‖xᵢ − xⱼ‖² of a pair i < j, in (0, 4]. Pairs that tie share the gradient equally.

    Liu et al. 2021 (arXiv 2103.01649), maximum hyperspherical separation. ValueError without a pair, as in `riesz`.
    """
    apart, _ = _pair_distances(_points(w, half_space=half_space))
    return apart.amin().square()


def polarization(w: Float[Tensor, "n d"], poles: Float[Tensor, " d"], *, half_space: bool = False) -> Float[Tensor, ""]:
    """Mean over i of ‖v − xᵢ‖⁻² for the pole v = poles/‖poles‖. Infinite when the pole lies on a point.

    Liu et al. 2021 (arXiv 2103.01649), maximum hyperspherical polarization with s = 2: the pole minimises, w maximises.
    """
    return _squared_distances_to(poles, _points(w, half_space=half_space)).reciprocal().mean()


def resultant(w: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """‖Σᵢ wᵢ‖ of the raw weights, so in their unit and not invariant to their lengths; the gradient at 0 is 0.

    Liu et al. 2021 (arXiv 2103.01649), relaxed maximum hyperspherical polarization.
    """
    _check_matrix(w)
    length: Tensor = torch.linalg.vector_norm(w.sum(dim=0))
    return length


def covering(
    w: Float[Tensor, "n d"], poles: Float[Tensor, " d"], *, gamma: float = 10.0, half_space: bool = False
) -> Float[Tensor, ""]:
    """Soft minimum −(1/γ) ln meanᵢ exp(−γ ‖v − xᵢ‖²) of the squared distances to the pole v = poles/‖poles‖.

    Between the smallest squared distance and that plus ln(n)/γ.
    Liu et al. 2021 (arXiv 2103.01649), minimum hyperspherical covering: the pole maximises, w minimises.
    """
    squared = _squared_distances_to(poles, _points(w, half_space=half_space))
    return (math.log(len(squared)) - torch.logsumexp(-gamma * squared, dim=0)) / gamma


def gram_determinant(w: Float[Tensor, "n d"], *, half_space: bool = False) -> Float[Tensor, ""]:
    """The log-determinant ln det(K + 10⁻⁶ I) with Kᵢⱼ = exp(−‖xᵢ − xⱼ‖²). Larger is more uniform.

    Computed in float64, as K is close to singular, and returned in the type of w.
    Liu et al. 2021 (arXiv 2103.01649), maximum Gram determinant with ε = 1.
    """
    x = _points(w.double(), half_space=half_space)
    kernel = torch.exp(2 * (x @ x.T) - 2)
    # For a matrix with a NaN this factor has NaN on its diagonal; `cholesky` raises, and makes the host wait for a GPU.
    factor, _ = torch.linalg.cholesky_ex(kernel + 1e-6 * torch.eye(len(x), dtype=x.dtype, device=x.device))
    half: Tensor = factor.diagonal().log().sum()
    return (2 * half).to(w.dtype)


def _points(w: Float[Tensor, "n d"], *, half_space: bool) -> Float[Tensor, "m d"]:
    """The rows of w on the unit sphere, followed by their mirror images in half space."""
    _check_matrix(w)
    x = w / torch.linalg.vector_norm(w, dim=1, keepdim=True)
    return torch.cat([x, -x]) if half_space else x


def _pair_distances(x: Float[Tensor, "m d"]) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """‖xᵢ − xⱼ‖ and ‖xᵢ + xⱼ‖ of every pair of unit vectors i < j; the order of the pairs is unspecified.

    One matrix product gives all; nearly parallel pairs are computed again from differences. To select them makes the
    host wait for a GPU.
    """
    if len(x) < 2:
        raise ValueError(f"an energy of pairs needs at least 2 points, found {len(x)}; in half space 1 would do")
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    cosine = (x @ x.T)[i, j]
    near = cosine.abs() > NEARLY_PARALLEL
    far = cosine[~near]
    i, j = i[near], j[near]
    apart = torch.cat([(2 - 2 * far).sqrt(), torch.linalg.vector_norm(x[i] - x[j], dim=1)])
    together = torch.cat([(2 + 2 * far).sqrt(), torch.linalg.vector_norm(x[i] + x[j], dim=1)])
    return apart, together


def _squared_distances_to(pole: Float[Tensor, " d"], x: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
    """‖v − xᵢ‖² for v = pole/‖pole‖."""
    v: Tensor = pole / torch.linalg.vector_norm(pole)
    return (v - x).square().sum(dim=1)


def _check_matrix(w: Tensor) -> None:
    if w.ndim != 2 or w.numel() == 0:
        raise ValueError(f"expected a non-empty matrix of n neurons × d inputs, found shape {tuple(w.shape)}")
