"""What does a penalty cost, before anything is built? Operations, and bytes in addition to the network's.

Knows specs and the shapes of layers. Knows no tensors (importing it does not load torch): a test compares it with the
allocations that torch's profiler sees on a CPU. Layers are computed one after the other, and what autograd keeps of
each stays until the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from hsu_core import spec

FLOAT, DOUBLE = 4, 8
"""Bytes of a number; the recorded measures, `mgd`, `mhc` at its poles and penalties on features use float64."""

DRAWN = 50
"""Approximate operations for a normal random number: its time relative to a multiplication."""

FREQUENCIES = 17
"""At which `sliced_gaussian` compares characteristic functions: `hsu_core.dispersion.KNOTS`."""

TILES = 4
"""Tiles of a Gram matrix in memory at the same time: cosines, energies, slopes, and one intermediate result."""

GAP_POLES = 64
"""Fresh poles for the recorded gap to a better pole, in addition to the penalty's poles before and after a climb."""


class PenaltyCost(NamedTuple):
    """The cost of the term of one layer, or of one batch."""

    flops: int
    """Forward and backward."""
    kept: int
    """Bytes kept for the backward pass, while the other layers' terms are computed."""
    passing: int = 0
    """Additional bytes, at most, during this term's forward or backward pass."""
    keeps_points: bool = True
    """Whether the points are kept for the backward pass too; for a linear layer they are the weights."""


def layer_term(chosen: spec.LayerRegularizer, n: int, d: int, *, is_final: bool) -> PenaltyCost:
    """The cost of the term of a layer of n neurons with d inputs, in half space if the regularizer has it."""
    match chosen:
        case spec.MHE(s=s, low_precision=low_precision):
            return _energy(n, d, s=s, low_precision=low_precision)
        case spec.MHS():
            units = FLOAT * n * d if n > d else 0
            return PenaltyCost(_as_mhe(chosen, n, d), 0, units + _tiles(n) // 2)
        case spec.MGD():
            flops = _as_mhe(chosen, n, d) + 2 * n**3
            return PenaltyCost(
                flops, DOUBLE * n * n if n <= d else FLOAT * n * d, 60 * n * n + (16 if n > d else 4) * n * d
            )
        case spec.MHP(inner=inner) | spec.MHC(inner=inner):
            return _at_poles(chosen, inner, n, d)
        case spec.CoMHE(s=s, low_precision=low_precision) if is_final and not chosen.project_classifier:
            return _energy(n, d, s=s, low_precision=low_precision)
        case spec.CoMHE():
            return _projected(chosen, n, d)._replace(keeps_points=False)
        case spec.SO() | spec.DSO():
            smaller = min(n, d) ** 2
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * (n * d + smaller), FLOAT * (n * d + 2 * smaller))
        case spec.MutualCoherence():
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * (n * d + 2 * n * n), 2 * FLOAT * n * n)
        case spec.MMA():
            return PenaltyCost(_as_mhe(chosen, n, d), 3 * FLOAT * n * d, FLOAT * n * n, keeps_points=False)
        case spec.SRIP(iterations=iterations):  # the measured cost is that of two iterations
            return PenaltyCost(_as_mhe(chosen, n, d) * (iterations + 1) // 3, FLOAT * n * d, FLOAT * n * d)
        case spec.Lloyd(samples=samples):
            kept, passing = n * d + samples * d, samples * n
            return PenaltyCost(4 * samples * n * d, FLOAT * kept, FLOAT * passing, keeps_points=False)
        case spec.SlicedDispersion(circles=circles):
            both = 2 if chosen.is_mirrored and not is_final else 1
            kept = FLOAT * (2 * n * d + 8 * both * circles * n)
            return PenaltyCost(8 * circles * n * d, kept, FLOAT * (n * d + 4 * both * circles * n), keeps_points=False)
        case spec.RMHP():
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * n * d, FLOAT * n * d)
        case spec.PluginLayerPenalty():  # unknown: as if it kept the distances of all pairs
            both = 2 if chosen.is_mirrored and not is_final else 1
            pairs = (both * n) ** 2
            return PenaltyCost(_as_mhe(chosen, both * n, d), FLOAT * (both * n * d + 2 * pairs), 2 * FLOAT * pairs)
        case _:
            assert_never(chosen)


def feature_term(chosen: spec.FeatureRegularizer, batch: int, d: int, *, classes: int) -> PenaltyCost:
    """The cost of the term of a batch of features, before a classifier of so many classes."""
    flops = 4 * batch**2 * d
    match chosen:
        case spec.Uniformity():
            return PenaltyCost(flops, 16 * batch * d, 20 * batch**2)
        case spec.KoLeo():
            return PenaltyCost(flops, 4 * DOUBLE * batch * d, DOUBLE * batch**2)
        case spec.WassersteinUniformity():
            smaller, larger = sorted((batch, d))
            return PenaltyCost(20 * larger * smaller**2, 6 * DOUBLE * batch * d, 2 * DOUBLE * smaller**2)
        case spec.HUG():
            energy = _energy(classes, d, s=2.0, low_precision=False)
            kept = FLOAT * (2 * batch + classes) * d + 4 * DOUBLE * batch * d
            return PenaltyCost(energy.flops + 40 * batch * d, energy.kept + kept, energy.passing)
        case spec.SlicedGaussian(directions=directions):
            return PenaltyCost(
                directions * batch * (4 * d + 40 * FREQUENCIES), FLOAT * directions * (3 * FREQUENCIES * batch + d), 0
            )
        case spec.PluginFeaturePenalty():  # unknown: as if it kept the distances of all pairs
            return PenaltyCost(flops, 4 * FLOAT * batch * d + 2 * FLOAT * batch**2, 2 * FLOAT * batch**2)
        case _:
            assert_never(chosen)


def measures(n: int, d: int) -> int:
    """Bytes to record the measures of one layer: its cosines, and the values of each of its pairs."""
    return 46 * n * n + 2 * DOUBLE * n * d


def _as_mhe(chosen: spec.LayerPenalty, n: int, d: int) -> int:
    """4·n²·d, as for `mhe`, times the catalog's factor for the others."""
    return round(chosen.about.relative_cost * 4 * n * n * d)


def _energy(n: int, d: int, *, s: float, low_precision: bool) -> PenaltyCost:
    kept, units = (n * n, n * n) if n <= d else (n * d, n * d)
    exact = 3 if s > 16 else 1  # in float64, with a copy of the weights
    rounded = 2 * n * d if low_precision else 0
    tiles = _tiles(n) * (2 if low_precision else 1)
    return PenaltyCost(4 * n * n * d, exact * FLOAT * kept + rounded, exact * (FLOAT * units + tiles))


def _tiles(n: int) -> int:
    rows = min(n, max(n // 4, 64), 256)
    return TILES * FLOAT * rows * min(n, 1024)


def _at_poles(chosen: spec.MHP | spec.MHC, inner: spec.Inner, n: int, d: int) -> PenaltyCost:
    """Each step of the poles takes one product forward and one backward. One pass for the weights follows."""
    poles = inner.poles if isinstance(inner, spec.FreshPoles) else 1
    flops = 4 * (inner.steps + 1) * poles * n * d
    of_pair = 4 * FLOAT if isinstance(chosen, spec.MHP) else 8 * DOUBLE
    together = 2 * poles + GAP_POLES  # where the gap is recorded, as at the first step
    kept = FLOAT * (2 * poles * n + poles * d)
    return PenaltyCost(flops, kept, together * (of_pair * n + 4 * FLOAT * d))


def _projected(chosen: spec.CoMHE, n: int, d: int) -> PenaltyCost:
    """Every projection's matrix, neurons and energy are kept for the backward pass."""
    p = chosen.dimension
    if d <= p:
        return _energy(n, d, s=chosen.s, low_precision=chosen.low_precision)
    count = chosen.projections if chosen.projection == "random" else 1
    energy = _energy(n, p, s=chosen.s, low_precision=chosen.low_precision)
    neurons = FLOAT * n * p if n <= p else 0
    kept = count * (FLOAT * d * p + energy.kept + neurons) + FLOAT * n * d
    passing = max(energy.passing + 2 * FLOAT * n * p, 2 * FLOAT * n * d)
    flops = count * (4 * n * d * p + energy.flops)
    if chosen.projection == "random":
        return PenaltyCost(flops + DRAWN * count * d * p, kept, passing)
    moves = chosen.steps * (4 * n * d * p + energy.flops)
    if chosen.projection == "angle":
        return PenaltyCost(flops + moves + 2 * chosen.steps * n * n * d, kept, max(passing, 28 * n * n))
    return PenaltyCost(flops + moves, kept, passing + FLOAT * d * p)
