"""How far have the features collapsed to their classes' means, and these to a simplex? Neural collapse, NC1 to NC4.

Papyan, Han and Donoho 2020 (arXiv 2008.08186). Each measure is 0 at full collapse. Classes without an example do not
count. The paper measures the training set; a spec chooses.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import normalize

from hsu_core.evaluations.passes import Seen


def measure(found: Seen, weight: Float[Tensor, "classes d"]) -> dict[str, float]:
    """`nc1`, `nc2_norms`, `nc2_angles`, `nc3` and `nc4`; `weight` has the classifier's rows. In float64.

    All are NaN with fewer than two classes.
    """
    present, own = torch.unique(found.classes, return_inverse=True)
    if len(present) < 2:
        return dict.fromkeys(("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4"), math.nan)
    features = found.features.double()
    means = _means(features, own)
    centred = means - means.mean(dim=0)
    predicted = found.logits.argmax(dim=1)
    values = {
        "nc1": variability(features - means[own], centred),
        "nc2_norms": unequal_norms(centred),
        "nc2_angles": unequal_angles(centred),
        "nc3": duality_gap(weight[present].double(), centred),
        "nc4": (present[torch.cdist(features, means).argmin(dim=1)] != predicted).double().mean(),
    }
    return {name: value.item() for name, value in values.items()}


def _means(features: Float[Tensor, "n d"], own: Int64[Tensor, " n"]) -> Float[Tensor, "classes d"]:
    counts = torch.bincount(own)
    sums = features.new_zeros(len(counts), features.shape[1]).index_add_(0, own, features)
    return sums / counts[:, None]


def variability(within: Float[Tensor, "n d"], centred: Float[Tensor, "classes d"]) -> Float[Tensor, ""]:
    """NC1: Tr(Σ_W Σ_B⁺)/C, the scatter within classes relative to that between them.

    Σ_W is the mean of the outer products of the features minus their class's mean, Σ_B that of the means minus their
    mean. With M the (C, d) centred means, Σ_B⁺ = C·M⁺M⁺ᵀ, so the trace needs no d × d matrix.
    """
    return torch.sum((within @ torch.linalg.pinv(centred)).square()) / len(within)


def unequal_norms(centred: Float[Tensor, "classes d"]) -> Float[Tensor, ""]:
    """NC2, equinorm: the standard deviation of the norms of the centred means, by their mean."""
    norms = torch.linalg.vector_norm(centred, dim=1)
    spread: Tensor = norms.std(correction=0)
    return torch.div(spread, norms.mean())


def unequal_angles(centred: Float[Tensor, "classes d"]) -> Float[Tensor, ""]:
    """NC2, maximal angles: mean over pairs of |cos + 1/(C − 1)|, which is 0 for a simplex."""
    x = normalize(centred, dim=1)
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    return torch.mean(((x @ x.T)[i, j] + 1 / (len(x) - 1)).abs())


def duality_gap(weight: Float[Tensor, "classes d"], centred: Float[Tensor, "classes d"]) -> Float[Tensor, ""]:
    """NC3: ‖W/‖W‖ − M/‖M‖‖², Frobenius norms, W the classifier's weights and M the centred means."""
    return torch.sum((weight / torch.linalg.vector_norm(weight) - centred / torch.linalg.vector_norm(centred)).square())
