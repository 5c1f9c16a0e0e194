"""What does a penalty take, before anything is built? Operations, and bytes beside the network's own.

Knows specs and the shapes of layers. Knows no tensors (importing it costs no torch): a test holds it against what
torch's profiler sees allocated on a CPU. Layers are taken one after the other, and what autograd keeps of each stays
until the way back.
"""

from __future__ import annotations

from typing import NamedTuple

from hsu_core import spec

FLOAT, DOUBLE = 4, 8
"""Bytes of a number; the recorded measures, `mgd`, `mhc` at its poles and penalties on features are in float64."""

DRAWN = 50
"""Operations that a normal random number costs, about: what it takes beside a multiplication."""

TILES = 4
"""Tiles of a Gram matrix that are there together: cosines, energies, slopes, and one in between."""

GAP_POLES = 64
"""Fresh poles that the recorded gap to a better pole looks at, beside those of the penalty before and after a climb."""


class PenaltyCost(NamedTuple):
    """What one layer's term takes."""

    flops: int
    """Forward and backward."""
    kept: int
    """Bytes that wait for the way back, while the other layers' terms are computed."""
    passing: int = 0
    """Bytes beside them, at the most, while this term is computed or taken back."""


def of_layer(chosen: spec.LayerPenalty, n: int, d: int, *, is_final: bool) -> PenaltyCost:
    """What the term of a layer of n neurons with d inputs takes, in half space if it has one."""
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
            return _projected(chosen, n, d)
        case spec.SO() | spec.DSO():
            smaller = min(n, d) ** 2
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * (n * d + smaller), FLOAT * (n * d + 2 * smaller))
        case spec.MutualCoherence():
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * (n * d + 2 * n * n), 2 * FLOAT * n * n)
        case spec.MMA():
            return PenaltyCost(_as_mhe(chosen, n, d), 3 * FLOAT * n * d, FLOAT * n * n)
        case spec.SRIP(iterations=iterations):  # whose measured cost is that of two iterations
            return PenaltyCost(_as_mhe(chosen, n, d) * (iterations + 1) // 3, FLOAT * n * d, FLOAT * n * d)
        case _:
            return PenaltyCost(_as_mhe(chosen, n, d), FLOAT * n * d, FLOAT * n * d)


def of_features(chosen: spec.FeaturePenalty, batch: int, d: int) -> PenaltyCost:
    """What the term of a batch of features takes."""
    flops = 4 * batch**2 * d
    if isinstance(chosen, spec.Uniformity):
        return PenaltyCost(flops, 16 * batch * d, 20 * batch**2)
    return PenaltyCost(flops, 4 * DOUBLE * batch * d, DOUBLE * batch**2)


def of_measures(n: int, d: int) -> int:
    """Bytes that recording the measures of one layer takes: its cosines, and what each of its pairs has."""
    return 46 * n * n + 2 * DOUBLE * n * d


def _as_mhe(chosen: spec.LayerPenalty, n: int, d: int) -> int:
    """4·n²·d, as `mhe` needs, times what the catalog says of the others."""
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
    """Poles climb, each step by a product there and one back; then the weights have their turn."""
    poles = inner.poles if isinstance(inner, spec.FreshPoles) else 1
    flops = 4 * (inner.steps + 1) * poles * n * d
    of_pair = 4 * FLOAT if isinstance(chosen, spec.MHP) else 8 * DOUBLE
    together = 2 * poles + GAP_POLES  # where the gap is recorded, which it is at the first step
    kept = FLOAT * (2 * poles * n + poles * d)
    return PenaltyCost(flops, kept, together * (of_pair * n + 4 * FLOAT * d))


def _projected(chosen: spec.CoMHE, n: int, d: int) -> PenaltyCost:
    """Every projection's matrix, neurons and energy wait for the way back."""
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
