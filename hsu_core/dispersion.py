"""How well are points dispersed, without a look at their pairs? Losses from random samples, circles and directions.

Knows (n, d) tensors, and what was drawn. Lower is better in each. All are pure and differentiable.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.baselines import LARGEST
from hsu_core.fast.directions import unit_rows

KNOTS, WIDEST = 17, 5.0
"""Points of the integral over the frequencies from −WIDEST to WIDEST: algorithm 1 of arXiv 2511.08544."""


def lloyd(w: Float[Tensor, "n d"], samples: Float[Tensor, "m d"], *, half_space: bool = False) -> Float[Tensor, ""]:
    """Mean over the samples of the squared angle to the nearest row, in radians; in half space to ± a row.

    Samples need not have unit length. Tokarchuk et al. 2025, arXiv 2502.08231, section 4.4.
    """
    x, u = unit_rows(w), unit_rows(samples)
    with torch.no_grad():
        cosines = u @ x.T
        nearest = (cosines.abs() if half_space else cosines).argmax(dim=1)
        sign = 1 - 2 * (cosines.gather(1, nearest[:, None]) < 0).to(x.dtype) if half_space else 1
    chord = torch.linalg.vector_norm(u - sign * x[nearest], dim=1)  # exact for small angles, unlike the cosine
    chord = torch.where((x == 0).all(dim=1)[nearest], math.sqrt(2), chord)  # at a right angle to a row of zeros
    angles = 2 * torch.asin((chord / 2).clamp_max(1 - 1e-6))
    return angles.square().mean()


def sliced_dispersion(
    w: Float[Tensor, "n d"], planes: Float[Tensor, "c d 2"], *, half_space: bool = False
) -> Float[Tensor, ""]:
    """½ mean (θ − θ*)², mean over the planes: θ the angles in a plane, θ* equally spaced in the order and mean of θ.

    Planes are spanned by any two vectors each; half space adds the mirror images. Tokarchuk et al. 2025, section 4.5.
    """
    basis = torch.linalg.qr(planes).Q
    across, along = (unit_rows(w) @ basis).unbind(dim=-1)
    across = torch.where((across == 0) & (along == 0), 1, across)  # without a direction, at angle 0
    angles = torch.atan2(along, across)
    if half_space:
        angles = torch.cat([angles, torch.where(angles > 0, angles - math.pi, angles + math.pi)], dim=-1)
    ordered = angles.sort(dim=-1).values
    count = ordered.shape[-1]
    spaced = (2 * math.pi / count) * (torch.arange(count, dtype=w.dtype, device=w.device) - (count - 1) / 2)
    ideal = ordered.mean(dim=-1, keepdim=True) + spaced
    return (ordered - ideal).square().mean() / 2


def wasserstein_uniformity(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The 2-Wasserstein distance of N(μ, Σ) of the normalised rows to N(0, I/d), their limit for uniform rows.

    Between 0 and √2. With Z the centred rows, tr Σ^½ = ‖Z‖₁/√n, the sum of Z's singular values: its gradient is finite
    where some are 0, as for n ≤ d. Fang et al. 2024, arXiv 2403.00642.
    """
    n, d = x.shape
    directed = unit_rows(x.double())
    mean = directed.mean(dim=0)
    spread: Tensor = torch.linalg.svdvals(directed - mean) / n**0.5
    squared = mean.square().sum() + 1 + spread.square().sum() - 2 / d**0.5 * spread.sum()
    distance: Tensor = squared.clamp_min(1e-12).sqrt()
    return distance.to(x.dtype)


def sliced_gaussian(x: Float[Tensor, "n d"], directions: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """The Epps–Pulley statistic for normality of the rows along each direction, the mean over the directions.

    Rows count with their lengths, directions without. Balestriero and LeCun 2025, arXiv 2511.08544, algorithm 1.
    """
    x = x.clamp(-LARGEST, LARGEST)
    t = torch.linspace(-WIDEST, WIDEST, KNOTS, dtype=x.dtype, device=x.device)
    normal = (-t.square() / 2).exp()
    at = (x @ unit_rows(directions).T)[..., None] * t
    real, imaginary = at.cos().mean(dim=0), at.sin().mean(dim=0)
    distance = ((real - normal).square() + imaginary.square()) * normal
    mean: Tensor = torch.trapezoid(distance, t, dim=1).mean()
    return len(x) * mean
