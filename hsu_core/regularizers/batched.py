"""What do equal layers add? The same as each alone, from one stack (b, n, d) instead of b matrices (n, d).

Knows the kinds of terms, their random numbers and their kept state. Knows no weights of a penalty and no schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core import baselines, spec
from hsu_core.fast.directions import unit_rows
from hsu_core.regularizers import inner_problem
from hsu_core.regularizers.feature_terms import AnyTerm, OfClasses, OfFeatures
from hsu_core.regularizers.terms import (
    AtPoles,
    OfDraws,
    OfPlugin,
    OfProjections,
    OfStretch,
    OfWeights,
    StepContext,
)


def pay(device: torch.device) -> bool:
    """Whether stacks are faster: where launches cost more than the work; not on a CPU (docs/performance.md)."""
    return device.type != "cpu"


def likeness(term: AnyTerm, w: Float[Tensor, "n d"]) -> Hashable:
    """A key, equal for two terms of one regularizer, of points w, that differ only in their layers' values.

    A final layer may have its own loss.
    """
    return type(term), w.shape, w.dtype, w.device, term.layer.is_final


def together(terms: Sequence[AnyTerm], points: Sequence[Tensor], at: StepContext) -> Float[Tensor, " b"]:
    """The values of terms with equal keys, from the points of each."""
    return _way(terms[0])(terms, _stack(points), at)


def _way(term: AnyTerm) -> Callable[[Any, Tensor, StepContext], Tensor]:
    """The function that computes a kind of term for a stack of layers."""
    match term:
        case OfWeights():
            return _of_weights
        case AtPoles():
            return _at_poles
        case OfProjections():
            return _of_projections
        case OfStretch():
            return _of_stretch
        case OfDraws() | OfPlugin() | OfFeatures() | OfClasses():
            return _one_by_one
        case _:
            assert_never(term)


def _of_weights(terms: Sequence[OfWeights], w: Float[Tensor, "b n d"], _at: StepContext) -> Float[Tensor, " b"]:
    return terms[0].loss(w)


def _at_poles(terms: Sequence[AtPoles], w: Float[Tensor, "b n d"], at: StepContext) -> Float[Tensor, " b"]:
    """The poles of all layers move together, each by its own layer's objective."""
    objective = terms[0].objective
    return inner_problem.worst(objective(w, _poles(terms, w.detach(), at)))


def _poles(terms: Sequence[AtPoles], w: Float[Tensor, "b n d"], at: StepContext) -> Float[Tensor, "b m d"]:
    objective, inner = terms[0].objective, terms[0].inner
    if isinstance(inner, spec.FreshPoles):
        start = torch.stack([term.drawn(inner, own, at) for term, own in zip(terms, w, strict=True)])
        return inner_problem.climb(inner_problem.slope(objective, w), start, steps=inner.steps)
    kept = [term.pole(w) for term in terms]
    if at.moves:
        inner_problem.advance(kept, objective, w, lr=at.lr)
    return torch.stack([each.beside(w) for each in kept])


def _of_projections(terms: Sequence[OfProjections], w: Float[Tensor, "b n d"], at: StepContext) -> Float[Tensor, " b"]:
    """One loss for all projections of all layers; each kept projection moves separately."""
    loss = terms[0].loss
    if not terms[0].is_wide(w[0]):
        return loss(w)
    if terms[0].how.arithmetic == "authors":
        return torch.stack([term(own, at) for term, own in zip(terms, w, strict=True)])
    w = unit_rows(w)
    matrices = torch.stack([term.matrices(own, at) for term, own in zip(terms, w.detach(), strict=True)])
    return loss((w[:, None] @ matrices).flatten(0, 1)).view(len(terms), -1).mean(dim=1)


def _of_stretch(terms: Sequence[OfStretch], w: Float[Tensor, "b n d"], at: StepContext) -> Float[Tensor, " b"]:
    if terms[0].is_authors:
        return torch.stack([term(own, at) for term, own in zip(terms, w, strict=True)])
    starts = torch.stack([term.start(own, at) for term, own in zip(terms, w, strict=True)])
    return baselines.spectral_isometry(w, starts, iterations=terms[0].iterations)


def _one_by_one(terms: Sequence[AnyTerm], w: Float[Tensor, "b n d"], at: StepContext) -> Float[Tensor, " b"]:
    """For terms whose draws differ, for functions of one layer, and for features, of which there is one batch."""
    return torch.stack([term(own, at) for term, own in zip(terms, w, strict=True)])


def _stack(points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "b n d"]:
    return torch.stack(list(points)) if len(points) > 1 else points[0][None]  # a large layer needs no copy
