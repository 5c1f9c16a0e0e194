"""Which names of layers in a spec match no layer of its network, and has its penalty a layer to act on?

Knows names, patterns and sizes, as the geometry states them. Layers that are left out are not in it: so a pattern that
matches only such layers is found here too, before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from hsu_core.spec.geometry import Geometry, Layer
from hsu_core.spec.penalties import LayerPenalty
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.task import Misfit

__all__ = ["layer_misfits", "too_small"]


def layer_misfits(geometry: Geometry, regularizer: Regularizer, recorded: Iterable[str]) -> Iterator[Misfit]:
    """What is wrong with the names of layers: each pattern that matches none, and a penalty that would have none."""
    names = [layer.name for layer in geometry.layers]
    yield from _unmatched("/record/layers", recorded, names)
    if not isinstance(regularizer, LayerPenalty):
        return
    unmatched = [
        *_unmatched("/regularizer/layers", regularizer.layers, names),
        *_unmatched("/regularizer/layer_weights", regularizer.layer_weights, names),
    ]
    yield from unmatched
    if not unmatched and (reasons := _left_out(geometry, regularizer)):
        told = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        yield Misfit("/regularizer", f"{regularizer.kind} finds no layer that it could spread: {told}")


def too_small(regularizer: LayerPenalty, n: int, d: int) -> str | None:
    """Why n neurons in d dimensions cannot be spread by this penalty; None if they can."""
    if not regularizer.needs_pairs:
        return None
    if n == 1:
        return "has a single neuron: there is no pair to spread"
    return "has neurons of a single dimension: there are only two directions" if d == 1 else None


def _unmatched(pointer: str, patterns: Iterable[str], names: Iterable[str]) -> Iterator[Misfit]:
    for place, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name in names):
            where = pointer if pointer.endswith("weights") else f"{pointer}/{place}"
            yield Misfit(where, f"{pattern!r} matches no layer whose neurons are read; there are {', '.join(names)}")


def _left_out(geometry: Geometry, regularizer: LayerPenalty) -> Mapping[str, str]:
    """Why each layer that the penalty was to act on is too small; empty if one is not, or if there is none."""
    wanted = [
        layer
        for layer in geometry.layers
        if _weight(regularizer, layer) > 0 and any(fnmatchcase(layer.name, pattern) for pattern in regularizer.layers)
    ]
    reasons = {layer.name: too_small(regularizer, layer.out, layer.dimension) for layer in wanted}
    told = {name: reason for name, reason in reasons.items() if reason}
    return told if len(told) == len(wanted) else {}


def _weight(regularizer: LayerPenalty, layer: Layer) -> float:
    own = regularizer.final_weight if layer.is_final else regularizer.hidden_weight
    factors = (factor for pattern, factor in regularizer.layer_weights.items() if fnmatchcase(layer.name, pattern))
    return own * next(factors, 1.0)
