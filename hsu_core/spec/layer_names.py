"""Which layers do the patterns of a spec match, which patterns match none, and has its penalty a layer to act on?

Knows names, patterns and sizes, as the geometry states them. Layers that are left out are not in it: so a pattern that
matches only such layers is found here too, before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from hsu_core.spec.geometry import Geometry
from hsu_core.spec.penalties import LayerPenalty
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.task import Misfit

__all__ = ["layer_misfits", "layer_weights", "matching", "too_small"]

MOST_NAMED = 20
"""Layers that a message lists."""
_KEPT = 64
"""Answers that are kept: the jobs of a sweep name the same layers of one network."""


@lru_cache(maxsize=_KEPT)
def matching(patterns: tuple[str, ...], names: tuple[str, ...]) -> frozenset[str]:
    """The names that match any of the patterns."""
    return frozenset(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def layer_weights(regularizer: LayerPenalty, geometry: Geometry) -> dict[str, float]:
    """The weight of each layer that the penalty is to act on, by name; none is 0."""
    names = geometry.names
    factors = _factors(tuple(regularizer.layer_weights.items()), names)
    chosen = matching(regularizer.layers, names)
    own = {True: regularizer.final_weight, False: regularizer.hidden_weight}
    weights = {
        layer.name: own[layer.is_final] * factors.get(layer.name, 1.0)
        for layer in geometry.layers
        if layer.name in chosen
    }
    return {name: weight for name, weight in weights.items() if weight > 0}


@lru_cache(maxsize=_KEPT)
def _factors(given: tuple[tuple[str, float], ...], names: tuple[str, ...]) -> Mapping[str, float]:
    """Of each name that matches a pattern: the factor of the first that does."""
    found = {}
    for name in names:
        for pattern, factor in given:
            if fnmatchcase(name, pattern):
                found[name] = factor
                break
    return found


def layer_misfits(geometry: Geometry, regularizer: Regularizer, recorded: Iterable[str]) -> Iterator[Misfit]:
    """What is wrong with the names of layers: each pattern that matches none, and a penalty that would have none."""
    names = geometry.names
    yield from _unmatched("/record/layers", tuple(recorded), names)
    if not isinstance(regularizer, LayerPenalty):
        return
    unmatched = [
        *_unmatched("/regularizer/layers", regularizer.layers, names),
        *_unmatched("/regularizer/layer_weights", tuple(regularizer.layer_weights), names),
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


def _unmatched(pointer: str, patterns: tuple[str, ...], names: tuple[str, ...]) -> Iterator[Misfit]:
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    there = ", ".join(names[:MOST_NAMED]) + rest
    for place in _idle(patterns, names):
        where = pointer if pointer.endswith("weights") else f"{pointer}/{place}"
        yield Misfit(where, f"{patterns[place]!r} matches no layer whose neurons are read; there are {there}")


@lru_cache(maxsize=_KEPT)
def _idle(patterns: tuple[str, ...], names: tuple[str, ...]) -> tuple[int, ...]:
    """The places of the patterns that match none of the names."""
    return tuple(
        place for place, pattern in enumerate(patterns) if not any(fnmatchcase(name, pattern) for name in names)
    )


def _left_out(geometry: Geometry, regularizer: LayerPenalty) -> Mapping[str, str]:
    """Why each layer that the penalty was to act on is too small; empty if one is not, or if there is none."""
    if not regularizer.needs_pairs:
        return {}
    weights = layer_weights(regularizer, geometry)
    wanted = [layer for layer in geometry.layers if layer.name in weights]
    reasons = {layer.name: too_small(regularizer, layer.out, layer.dimension) for layer in wanted}
    told = {name: reason for name, reason in reasons.items() if reason}
    return told if len(told) == len(wanted) else {}
