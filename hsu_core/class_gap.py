"""How far apart are classes, and how close to its class is each example? A loss of features and class vectors.

Knows (n, d) tensors. Lower is better. It is pure and differentiable. Only directions count; a row of zeros counts as
orthogonal to every other and has no gradient.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core import fast
from hsu_core.fast.directions import unit_rows


def uniformity_gap(
    vectors: Float[Tensor, "c d"], x: Float[Tensor, "n d"], own: Float[Tensor, "n d"], *, within: float = 1.0
) -> Float[Tensor, ""]:
    """HUG: the energy of the class vectors, mean over pairs of ‖vᵢ − vⱼ‖⁻², + within · the mean of ‖xᵢ − ownᵢ‖.

    `own` holds the class vector of each example. The first part is the inter-class uniformity, whose best is a simplex
    for c ≤ d + 1; the second is minus the Riesz energy with s = −1 of each example and its class vector, 0 if they
    agree. A single class has only the second part. Liu et al. 2023, arXiv 2303.06484, in the form MHE-HUG with proxies.
    """
    # In float64, since features come close to their class vectors.
    apart = torch.linalg.vector_norm(unit_rows(x.double()) - unit_rows(own.double()), dim=1)
    nowhere = (x == 0).all(dim=1) | (own == 0).all(dim=1)
    compact = within * torch.where(nowhere, math.sqrt(2), apart).mean().to(x.dtype)
    return compact if len(vectors) < 2 else compact + fast.riesz(vectors, s=2.0)
