"""What is measured of a layer, whatever it optimises: the same numbers for every job, so that curves compare.

Knows one weight matrix at a time. Everything is computed in float64 from one Gram matrix, of which half space needs no
larger one: the doubled set has each pair's ‖xᵢ − xⱼ‖ and ‖xᵢ + xⱼ‖ twice, and n antipodal pairs at distance 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.energies import NEARLY_PARALLEL
from hsu_core.spec import MEASURES, Measure

PAIRS_AT_ONCE = 4096
"""Nearly parallel pairs whose differences are held in memory together."""


def measure(w: Float[Tensor, "n d"], measures: Sequence[Measure] = MEASURES) -> dict[Measure, float]:
    """The chosen measures of the rows of w.

    `mhe_s*` and `mhe_a*`: `energies.riesz`, euclidean and angular, with `_half` in half space. `separation`: smallest
    squared distance of a pair. `min_angle`: smallest angle of a pair, degrees. `resultant_length`: ‖mean of xᵢ‖, in
    [0, 1]. `coherence`: largest |cos| of a pair. Where there is no pair (n = 1; in half space there
    is one then) the measure is NaN.
    """
    if not measures:
        return {}
    with torch.no_grad():
        pairs = _pairs(w.double())
        values = torch.stack([MEASURERS[name](pairs) for name in measures])
    return dict(zip(measures, values.tolist(), strict=True))


class Pairs(NamedTuple):
    """Unit vectors and what every pair i < j of them has, computed once for all measures."""

    x: Tensor
    cosine: Tensor
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
    cosine = (x @ x.T)[i, j]
    apart, together = (2 - 2 * cosine).sqrt(), (2 + 2 * cosine).sqrt()
    # As in `energies`: 2 − 2cos has few digits where cos is near 1.
    for near in (cosine.abs() > NEARLY_PARALLEL).nonzero()[:, 0].split(PAIRS_AT_ONCE):
        apart[near] = torch.linalg.vector_norm(x[i[near]] - x[j[near]], dim=1)
        together[near] = torch.linalg.vector_norm(x[i[near]] + x[j[near]], dim=1)
    unit = 2 / math.pi
    return Pairs(x, cosine, apart, together, unit * torch.atan2(apart, together), unit * torch.atan2(together, apart))


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
}
