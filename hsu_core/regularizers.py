"""What is the weighted penalty of a model? The sum over its layers, and when it acts.

Knows specs, layers and schedules. Knows no training loop. A penalty is always lower-is-better, in at least float32 and
outside autocast: half-precision Gram matrices make the gradients wrong by percents.
"""

from __future__ import annotations

from collections.abc import Hashable
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec, stacks
from hsu_core.layers import Layer, chosen, layers
from hsu_core.terms import AtPoles, Moment, Term, of_features, of_layer
from hsu_core.world import ALONE, World


def build(
    regularizer: spec.Regularizer,
    model: nn.Module,
    *,
    seed: int = 0,
    total_steps: int = 1,
    world: World = ALONE,
) -> Penalty:
    """The penalty of this spec on this model; calling it returns a scalar, 0 for `none`, the same on every rank.

    ValueError for a layer pattern that matches nothing, or if every chosen layer is too small to be spread.
    """
    penalty = Penalty(regularizer, device=layers(model)[0].weight.device, total_steps=total_steps)
    match regularizer:
        case spec.NoRegularizer():
            pass
        case spec.FeaturePenalty():
            final = layers(model)[-1]
            classifier = model.get_submodule(final.name)
            penalty.add(
                of_features(regularizer, final, seed=seed, classifier=classifier, world=world), regularizer.weight
            )
        case spec.LayerPenalty():
            _add_layers(penalty, regularizer, layers(model), seed)
    return penalty


class Penalty(nn.Module):
    """Σ over layers of weight · term, times the schedule. Its buffers are what some terms keep from step to step."""

    def __init__(self, regularizer: spec.Regularizer, *, device: torch.device, total_steps: int) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.device = device
        self.total_steps = total_steps
        self.terms = nn.ModuleList()
        self.weights: list[float] = []
        self.skipped: dict[str, str] = {}
        """Layers that were chosen and cannot be regularized, and why."""

    def add(self, term: Term, weight: float) -> None:
        """Add a term."""
        self.terms.append(term)
        self.weights.append(weight)

    def forward(self, step: int = 0, *, lr: float = 0.0) -> Float[Tensor, ""]:
        """The whole penalty at a step; `lr` is the network's learning rate, which moves the authors' poles."""
        values = [values for _, values in self._values(step, lr)]
        return torch.cat(values).sum() if values else torch.zeros((), device=self.device)

    def by_layer(self, step: int = 0, *, lr: float = 0.0) -> dict[str, Tensor]:
        """The weighted term of each regularized layer."""
        found = {
            term.layer.name: value
            for terms, values in self._values(step, lr)
            for term, value in zip(terms, values.unbind(), strict=True)
        }
        return {term.layer.name: found[term.layer.name] for term, _ in self._weighted()}

    def acts(self, step: int) -> bool:
        """Whether the penalty is part of the loss at this step."""
        return bool(self.weights) and step % self.every == 0

    @property
    def every(self) -> int:
        """The penalty acts on every k-th step, k times as strong."""
        return 1 if isinstance(self.regularizer, spec.NoRegularizer) else self.regularizer.every

    def inner_gaps(self, step: int = 0, *, lr: float = 0.0) -> dict[str, Tensor]:
        """By layer, how much worse a pole exists than those that the penalty found. Only `mhp` and `mhc` have any."""
        at = Moment(step, lr, acts=False)
        with torch.autocast(self.device.type, enabled=False):
            return {term.layer.name: term.gap(at) for term, _ in self._weighted() if isinstance(term, AtPoles)}

    def _values(self, step: int, lr: float) -> list[tuple[list[Term], Float[Tensor, " b"]]]:
        """The weighted terms, those that are alike together where stacks pay."""
        scale, at = self._schedule(step), Moment(step, lr, acts=self.acts(step))
        with torch.autocast(self.device.type, enabled=False):
            if not stacks.pay(self.device):
                return [([term], scale * weight * term(at)[None]) for term, weight in self._weighted()]
            return [(terms, scale * weight * stacks.together(terms, at)) for terms, weight in self._alike()]

    def _alike(self) -> list[tuple[list[Term], float]]:
        groups: dict[Hashable, tuple[list[Term], float]] = {}
        for term, weight in self._weighted():
            terms, _ = groups.setdefault((weight, stacks.likeness(term)), ([], weight))
            terms.append(term)
        return list(groups.values())

    def _weighted(self) -> list[tuple[Term, float]]:
        terms: list[Term] = list(self.terms)  # type: ignore[arg-type]  # a ModuleList forgets what it holds
        return list(zip(terms, self.weights, strict=True))

    def _schedule(self, step: int) -> float:
        if isinstance(self.regularizer, spec.NoRegularizer):
            return 0.0
        done = min(step / self.total_steps, 1.0)
        match self.regularizer.schedule:
            case spec.Steady():
                return 1.0
            case spec.WarmUp(fraction=fraction):
                return min(done / fraction, 1.0)
            case spec.Decay(to=to):
                return 1.0 - done * (1.0 - to)


def _add_layers(penalty: Penalty, regularizer: spec.LayerPenalty, found: list[Layer], seed: int) -> None:
    wanted = [
        (layer, weight)
        for layer in chosen(found, regularizer.layers, field="regularizer.layers")
        if (weight := _weight(regularizer, layer)) > 0
    ]
    chosen(found, regularizer.layer_weights, field="regularizer.layer_weights")
    for layer, weight in wanted:
        if reason := _too_small(regularizer, layer):
            penalty.skipped[layer.name] = reason
            continue
        penalty.add(of_layer(regularizer, layer, seed=seed, weight=weight), weight)
    if wanted and not penalty.weights:
        reasons = "; ".join(f"{name} {reason}" for name, reason in penalty.skipped.items())
        raise ValueError(f"{regularizer.kind} finds no layer that it could spread: {reasons}")


def _weight(regularizer: spec.LayerPenalty, layer: Layer) -> float:
    own = regularizer.final_weight if layer.is_final else regularizer.hidden_weight
    factors = (factor for name, factor in regularizer.layer_weights.items() if fnmatchcase(layer.name, name))
    return own * next(factors, 1.0)


def _too_small(regularizer: spec.LayerPenalty, layer: Layer) -> str | None:
    n, d = layer.shape
    if not isinstance(regularizer, (spec.SpherePenalty, spec.MMA)):
        return None
    if n == 1:
        return "has a single neuron: there is no pair to spread"
    return "has neurons of a single dimension: there are only two directions" if d == 1 else None
