"""Which losses do other methods minimise? Orthogonality and similar ones, and uniformity of features, as functions.

Knows (n, d) tensors: n neurons, or a batch of n features, as rows. Lower is better in each, unlike in `energies`, whose
functions are quantities without a direction. All are pure and differentiable; where several pairs tie for a maximum or
a nearest neighbour, they share the gradient or the first one gets it. Where only directions count, a row of zeros
counts as orthogonal to every other and has no gradient.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hsu_core.fast.directions import computable, may_look, unit_rows
from hsu_core.fast.gram import LIMIT, diagonal

LARGEST = 1e6
"""Where lengths count, a larger |weight| is cut to this and has no gradient: its fourth power would exceed float32."""


def soft_orthogonality(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """SO: ‖WWᵀ − I‖²_F of the raw weights: unit length and pairwise right angles. Bansal et al. 2018, eq. 4.

    arXiv 1810.09102. Zero only for n ≤ d; beyond that its minimum is n − d, at a tight frame.
    """
    n, d = w.shape[-2:]
    w = _bounded(w)
    # ‖WWᵀ − I‖² and ‖WᵀW − I‖² differ by n − d: the smaller Gram matrix is enough for both.
    smaller = w @ w.mT if n <= d else w.mT @ w
    return _excess(smaller).square().sum(dim=(-2, -1)) + max(n - d, 0)


def double_soft_orthogonality(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """DSO: ‖WWᵀ − I‖²_F + ‖WᵀW − I‖²_F, which is 2·SO + d − n. Bansal et al. 2018, eq. 5."""
    n, d = w.shape[-2:]
    return 2 * soft_orthogonality(w) + (d - n)


def mutual_coherence(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """MC: the largest |entry| of WWᵀ − I. For unit rows it is the coherence of the layer. Bansal et al. 2018, eq. 6."""
    w = _bounded(w)
    return _excess(w @ w.mT).abs().amax(dim=(-2, -1))


def spectral_isometry(
    w: Float[Tensor, "*b n d"], start: Float[Tensor, "*b n"], *, iterations: int = 2
) -> Float[Tensor, "*b"]:
    """SRIP: σ(WWᵀ − I) by power iteration from `start`, the gradient through it. Bansal et al. 2018, eqs. 8 and 9.

    The estimate is a lower bound and grows with the iterations; with WWᵀ = I it is 0.
    """
    w, v = _bounded(w), start[..., None]
    for _ in range(iterations):
        u = w @ (w.mT @ v) - v
        v = u / torch.linalg.vector_norm(u, dim=-2, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
    sigma: Tensor = torch.linalg.vector_norm(w @ (w.mT @ v) - v, dim=(-2, -1))
    return sigma


def minimal_angles(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """MMA: −(1/n) Σᵢ min over j ≠ i of the angle θᵢⱼ, in radians. Wang et al. 2020, arXiv 2006.06527, eq. 5.

    ValueError for fewer than 2 rows.
    """
    apart, together = _to_nearest(w)
    mean_angle: Tensor = 2 * torch.atan2(apart, together).mean(dim=-1)
    return -mean_angle


def uniformity(x: Float[Tensor, "n d"], *, t: float = 2.0) -> Float[Tensor, ""]:
    """Ln of the mean over pairs i < j of exp(−t ‖xᵢ − xⱼ‖²), x normalised. Wang and Isola 2020, arXiv 2005.10242.

    Between −4t and 0. ValueError for fewer than 2 rows.
    """
    directed = _directions(x.double())  # in float32, 2 − 2cos loses all digits for near-duplicates; a batch is small
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    squared = 2 - 2 * (directed @ directed.T)[i, j]
    mean_log = torch.logsumexp(-t * squared, dim=0) - math.log(len(squared))
    return mean_log.to(computable(x).dtype)


def koleo(x: Float[Tensor, "n d"], *, eps: float = 1e-8) -> Float[Tensor, ""]:
    """−(1/n) Σᵢ ln(min over j ≠ i of ‖xᵢ − xⱼ‖ + ε), x normalised: Kozachenko–Leonenko's estimate of entropy.

    Sablayrolles et al. 2019, arXiv 1806.03198, eq. 4. ValueError for fewer than 2 rows.
    """
    distance, _ = _to_nearest(x.double())
    return -(distance + eps).log().mean().to(computable(x).dtype)


def _excess(gram: Float[Tensor, "*b m m"]) -> Float[Tensor, "*b m m"]:
    return gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)


def _bounded(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
    return w.clamp(-LARGEST, LARGEST)


def _directions(w: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
    if w.shape[-2] < 2:
        raise ValueError(f"a nearest neighbour needs at least 2 rows, found {w.shape[-2]}")
    return unit_rows(w)


def _to_nearest(w: Float[Tensor, "*b n d"]) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
    """‖xᵢ − xⱼ‖ and ‖xᵢ + xⱼ‖ of each row and its nearest other row."""
    x = _directions(w)
    nearest = _nearest(w, x)
    nowhere = (x == 0).all(dim=-1)
    orthogonal = nowhere | _taken(nowhere, nearest)
    apart, together = (torch.linalg.vector_norm(x + sign * _taken(x, nearest), dim=-1) for sign in (-1, 1))
    return torch.where(orthogonal, math.sqrt(2), apart), torch.where(orthogonal, math.sqrt(2), together)


def _taken(of_rows: Tensor, index: Int[Tensor, "*b n"]) -> Tensor:
    """The entries of these rows; `gather` would take 1.5 times as long as all the rest."""
    if index.ndim == 1:
        return of_rows[index]
    return of_rows[torch.arange(len(index), device=index.device)[:, None], index]


@torch.no_grad()
def _nearest(w: Float[Tensor, "*b n d"], x: Float[Tensor, "*b n d"]) -> Int[Tensor, "*b n"]:
    """The index of each row's nearest other row, by the directions x.

    In float32, the cosines of nearly parallel rows round to equal numbers: these are compared in float64. On a GPU or
    in a stack, where the code must not depend on their values, any of them may be taken.
    """
    cosines = _cosines(x)
    if may_look(x) and x.dtype == torch.float32 and cosines.amax().item() > LIMIT[x.dtype]:
        cosines = _cosines(_directions(w.double()))
    return cosines.argmax(dim=-1)


def _cosines(x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n n"]:
    """Cosines between rows; −∞ for each row with itself."""
    cosines = x @ x.mT
    diagonal(cosines).fill_(-torch.inf)
    return cosines
