"""What is measured in every layer? The same numbers for every job, so that curves can be compared.

Knows one weight matrix at a time. Everything is computed in float64 from one Gram matrix, which is not larger in half
space: the doubled set has each pair's ‖xᵢ − xⱼ‖ and ‖xᵢ + xⱼ‖ twice, and n antipodal pairs at distance 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core import dispersion
from hsu_core.energies import NEARLY_PARALLEL
from hsu_core.regularizers import inner_problem
from hsu_core.spec import MEASURES, Measure, plugins

PAIRS_AT_ONCE = 4096
"""Nearly parallel pairs whose differences are in memory at the same time."""

POLES, CLIMB, SHARPNESS = 16, 10, 10.0
"""Random poles that search the largest hole, the steps of each, and γ of the soft minimum that they increase."""


def measure(w: Float[Tensor, "n d"], measures: Sequence[Measure] = MEASURES) -> dict[Measure, float]:
    """The chosen measures of the rows of w; a row of zeros has no direction and is left out.

    `mhe_s*` and `mhe_a*`: `energies.riesz`, euclidean and angular, with `_half` in half space. `separation`: smallest
    squared distance of a pair. `min_angle`: smallest angle of a pair, degrees. `resultant_length`: ‖mean of xᵢ‖, in
    [0, 1]. `coherence`: largest |cos| of a pair. `log_det`: `energies.gram_determinant`. `effective_rank`: exp of the
    entropy of the singular values of x (Roy and Vetterli 2007), in [1, min(n, d)]. `covering`: degrees from the worst
    point of the sphere that a few poles found to its nearest xᵢ: a lower bound. `wasserstein_uniformity`:
    `dispersion.wasserstein_uniformity`, in [0, √2]. Others are those of plug-ins. A measure is NaN if there is no pair
    (n = 1 in full space), or if a weight is NaN.
    """
    if not measures:
        return {}
    with torch.no_grad():
        rows = w[(w != 0).any(dim=1)].double()
        if not len(rows) or not rows.isfinite().all():
            return dict.fromkeys(measures, math.nan)
        pairs = _pairs(rows)
        values = torch.stack([_value(name, rows, pairs) for name in measures])
    return dict(zip(measures, values.tolist(), strict=True))


def _value(name: Measure, rows: Float[Tensor, "n d"], pairs: Pairs) -> Float[Tensor, ""]:
    if own := plugins.find(plugins.MEASURES, name):
        return torch.as_tensor(plugins.built_by(own.spec.builder)(rows), dtype=rows.dtype, device=rows.device)
    return MEASURERS[name](pairs)


class Pairs(NamedTuple):
    """Unit vectors and the values of every pair i < j of them, computed once for all measures."""

    x: Tensor
    gram: Tensor
    """All xᵢ·xⱼ, n × n."""
    cosine: Tensor
    """xᵢ·xⱼ of the pairs."""
    apart: Tensor
    """‖xᵢ − xⱼ‖"""
    together: Tensor
    """‖xᵢ + xⱼ‖, which is the distance to the mirror image."""
    angle: Tensor
    """Between xᵢ and xⱼ, in units of π."""
    mirror_angle: Tensor
    """Between xᵢ and −xⱼ, in units of π."""


def _pairs(w: Float[Tensor, "n d"]) -> Pairs:
    x = w / torch.linalg.vector_norm(w, dim=1, keepdim=True)
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    gram = x @ x.T
    cosine = gram[i, j]
    apart, together = (2 - 2 * cosine).sqrt(), (2 + 2 * cosine).sqrt()
    # As in `energies`: 2 − 2cos has few correct digits where cos is near 1.
    for near in (cosine.abs() > NEARLY_PARALLEL).nonzero()[:, 0].split(PAIRS_AT_ONCE):
        apart[near] = torch.linalg.vector_norm(x[i[near]] - x[j[near]], dim=1)
        together[near] = torch.linalg.vector_norm(x[i[near]] + x[j[near]], dim=1)
    unit = 2 / math.pi
    angles = (unit * torch.atan2(*both) for both in ((apart, together), (together, apart)))
    return Pairs(x, gram, cosine, apart, together, *angles)


def _kernel(rho: Tensor, s: int) -> Tensor:
    return -rho.log() if s == 0 else rho.pow(-s)


def _euclidean(pairs: Pairs, *, s: int) -> Tensor:
    return _kernel(pairs.apart, s).mean()


def _angular(pairs: Pairs, *, s: int) -> Tensor:
    return _kernel(pairs.angle, s).mean()


def _euclidean_half(pairs: Pairs, *, s: int) -> Tensor:
    return _half_space_mean(pairs, pairs.apart, pairs.together, antipodal=2.0, s=s)


def _angular_half(pairs: Pairs, *, s: int) -> Tensor:
    return _half_space_mean(pairs, pairs.angle, pairs.mirror_angle, antipodal=1.0, s=s)


def _half_space_mean(pairs: Pairs, rho: Tensor, mirrored: Tensor, *, antipodal: float, s: int) -> Tensor:
    """Mean over the n(2n − 1) pairs of the doubled set."""
    n = len(pairs.x)
    repeated = 2 * (_kernel(rho, s).sum() + _kernel(mirrored, s).sum())
    return (repeated + n * _kernel(rho.new_tensor(antipodal), s)) / (n * (2 * n - 1))


def _separation(pairs: Pairs) -> Tensor:
    return _or_nan(pairs.apart).amin().square()


def _min_angle(pairs: Pairs) -> Tensor:
    return 180 * _or_nan(pairs.angle).amin()


def _resultant_length(pairs: Pairs) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(pairs.x.mean(dim=0))
    return length


def _coherence(pairs: Pairs) -> Tensor:
    return _or_nan(pairs.cosine).abs().amax()


def _log_det(pairs: Pairs) -> Tensor:
    kernel = torch.exp(2 * pairs.gram - 2)
    kernel.diagonal().fill_(1 + 1e-6)
    factor, _ = torch.linalg.cholesky_ex(kernel)
    half: Tensor = factor.diagonal().log().sum()
    return 2 * half


def _effective_rank(pairs: Pairs) -> Tensor:
    n, d = pairs.x.shape
    smaller = pairs.gram if n <= d else pairs.x.T @ pairs.x
    share = torch.linalg.eigvalsh(smaller).clamp_min(0).sqrt()
    share /= share.sum()
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank


def _wasserstein(pairs: Pairs) -> Tensor:
    return dispersion.wasserstein_uniformity(pairs.x)


def _covering(pairs: Pairs) -> Tensor:
    n, d = pairs.x.shape
    # For n < d a pole orthogonal to all points is 90° from each, and a worse one lies in their span. So coordinates in
    # the span are enough; a factor of the Gram matrix gives them, with n² instead of n·d numbers.
    x = (_factor(pairs.gram) if n < d else pairs.x).float()
    generator = torch.Generator(x.device).manual_seed(0)  # the same poles at every step, so that curves are smooth
    start = inner_problem.drawn(POLES, like=x, generator=generator)
    found = inner_problem.climb(lambda v: -torch.softmax(2 * SHARPNESS * v @ x.T, dim=1) @ x, start, steps=CLIMB)
    nearest: Tensor = (found @ x.T).amax(dim=1).clamp(-1, 1).arccos().amax().rad2deg().double()
    return nearest.clamp_min(90) if n < d else nearest


def _factor(gram: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Rows with these inner products."""
    jitter = 1e-9 * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor: Tensor = torch.linalg.cholesky_ex(gram + jitter)[0]
    return factor


def _or_nan(values: Tensor) -> Tensor:
    """The values, or one NaN where there are none: a single neuron has no pair."""
    return values if len(values) else values.new_tensor([torch.nan])


MEASURERS: dict[str, Callable[[Pairs], Tensor]] = {
    **{f"mhe_s{s}": partial(_euclidean, s=s) for s in (0, 1, 2)},
    **{f"mhe_a{s}": partial(_angular, s=s) for s in (0, 1, 2)},
    **{f"mhe_s{s}_half": partial(_euclidean_half, s=s) for s in (0, 1, 2)},
    **{f"mhe_a{s}_half": partial(_angular_half, s=s) for s in (0, 1, 2)},
    "separation": _separation,
    "min_angle": _min_angle,
    "resultant_length": _resultant_length,
    "coherence": _coherence,
    "log_det": _log_det,
    "effective_rank": _effective_rank,
    "covering": _covering,
    "wasserstein_uniformity": _wasserstein,
}
