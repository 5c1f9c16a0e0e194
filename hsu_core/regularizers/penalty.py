"""What is the weighted penalty of a model? The sum over its layers, and when it acts.

Knows specs, layers and schedules. Knows no training loop. A penalty is always lower-is-better, in at least float32 and
outside autocast: half-precision Gram matrices make the gradients wrong by percents.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.fast.closed_form import without_autocast
from hsu_core.ranks import ALONE, World
from hsu_core.regularizers import batched, classifier, custom_op
from hsu_core.regularizers.in_use import InUse
from hsu_core.regularizers.layers import Layer, chosen, layers, read, unread
from hsu_core.regularizers.terms import AtPoles, StepContext, Term, of_features, of_layer


def build(
    regularizer: spec.Regularizer,
    model: nn.Module,
    *,
    seed: int = 0,
    total_steps: int | None = None,
    final: str | None = None,
    world: World = ALONE,
) -> Penalty:
    """The penalty of this spec on this model; `loss + penalty(step)` is all that a loop needs.

    `final` names the classifier; by default it is the layer that the model's outputs come out of. `total_steps` is the
    length of the training, for a weight that is not steady.

    ValueError for a layer pattern that matches nothing; for a model without layers, of which all are frozen or too
    small to be spread, or with a lazy one; if the classifier makes a difference and neither is named nor can be found;
    for a schedule without `total_steps`.
    """
    penalty = Penalty(regularizer, model, total_steps=_length(regularizer, total_steps))
    if isinstance(regularizer, spec.NoRegularizer):
        return penalty
    found = _found(regularizer, model, final)
    if isinstance(regularizer, spec.FeaturePenalty):
        penalty.add(of_features(regularizer, _classifier(found), seed=seed, world=world), regularizer.weight)
        trainable = any(parameter.requires_grad for parameter in model.parameters())
    else:
        _add_layers(penalty, regularizer, found, seed)
        trainable = not penalty.layers or not all(layer.is_frozen for layer in penalty.layers)
        penalty.watch()
    if not trainable:
        raise ValueError(
            f"{regularizer.kind} has nothing to move: expected a model with trainable weights, found all frozen "
            "(requires_grad=False)"
        )
    return penalty


class Penalty(nn.Module):
    """Σ over layers of weight · term, times the schedule. Its buffers are what some terms keep from step to step.

    Weights are read at each call from where they stand in the model.
    """

    def __init__(self, regularizer: spec.Regularizer, model: nn.Module, *, total_steps: int = 1) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.total_steps = total_steps
        self.terms = nn.ModuleList()
        self.weights: list[float] = []
        self.skipped: dict[str, str] = {}
        """Layers that were chosen and cannot be regularized, and why."""
        self._held = _Held(model)  # no part of this module: its parameters are not ours
        self._in_use: InUse | None = None
        self._updates = 0
        self._mark: tuple[object, ...] | None = None
        self._moved_at: int | None = None
        self.handle = custom_op.handle_of(self)

    def add(self, term: Term, weight: float) -> None:
        """Add a term."""
        self.terms.append(term)
        self.weights.append(weight)

    @property
    def model(self) -> nn.Module:
        """The model whose weights are read."""
        return self._held.model

    @property
    def layers(self) -> list[Layer]:
        """The layers of the terms."""
        return [term.layer for term, _ in self._weighted()]

    def watch(self) -> None:
        """Notice from now on which weights the model's forwards use."""
        self._in_use = InUse(self.model, [layer.module for layer in self.layers])

    def forward(
        self, step: int | None = None, *, lr: float | None = None, params: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, ""]:
        """What to add to the loss at a step: on every k-th step k times the penalty, between them 0.

        What terms keep (poles, projections) moves once a step, however often this is called. Without a step the
        penalty counts updates by itself: a call that finds the weights changed since the last one is the next step.
        (Changes through `.data` do not show: give the step then.) `lr` is the network's learning rate, which moves the
        authors' poles. `params` are the weights to read in place of the model's, as for `torch.func.functional_call`.

        ValueError where an authors' pole is to move without a rate; RuntimeError if the model's last forward used other
        weights than it holds, and `params` does not say so.
        """
        if torch.compiler.is_compiling():
            if params is not None:
                raise ValueError("params are not taken in a compiled step: call the penalty outside")
            return custom_op.compiled(self.handle, self.points(), step, lr)
        points = self.points(params)
        if custom_op.is_transforming():
            return custom_op.transformed(self.handle, points, step, lr)
        return self.of(points, step, lr=lr, gated=True)

    def value(self, step: int | None = None, *, lr: float | None = None) -> Float[Tensor, ""]:
        """The weighted penalty as it is recorded, whether it acts at this step or not. Otherwise as a call."""
        return self.of(self.points(), step, lr=lr, gated=False)

    def by_layer(self, step: int | None = None, *, lr: float | None = None) -> dict[str, Tensor]:
        """The weighted term of each regularized layer, as they add up to `value`. Nothing that is kept moves."""
        at = StepContext(self._now(step), lr, moves=False)
        found = {
            term.layer.name: value
            for terms, values in self._values(self.points(), at)
            for term, value in zip(terms, values.unbind(), strict=True)
        }
        return {layer.name: found[layer.name] for layer in self.layers}

    def inner_gaps(self, step: int | None = None, *, lr: float | None = None) -> dict[str, Tensor]:
        """By layer, how much worse a pole exists than those that the penalty found. Only `mhp` and `mhc` have any."""
        at = StepContext(self._now(step), lr, moves=False)
        searched = [term for term, _ in self._weighted() if isinstance(term, AtPoles)]
        gaps = {}
        for term in searched:
            w = term.points().detach()
            with without_autocast(w.device):
                gaps[term.layer.name] = term.gap(w, at)
        return gaps

    def acts(self, step: int) -> bool:
        """Whether the penalty is part of the loss at this step."""
        return bool(self.weights) and step % self.every == 0

    @property
    def every(self) -> int:
        """The penalty acts on every k-th step, k times as strong."""
        return 1 if isinstance(self.regularizer, spec.NoRegularizer) else self.regularizer.every

    def points(self, params: Mapping[str, Tensor] | None = None) -> list[Tensor]:
        """What each term is of, now."""
        if params is not None:
            return self._held.with_params(params, self._read)
        if self._in_use is not None and not torch.compiler.is_compiling():
            self._in_use.check()
        return self._read()

    def of(self, points: Sequence[Tensor], step: int | None, *, lr: float | None, gated: bool) -> Float[Tensor, ""]:
        """The penalty of these points at a step; with `gated` what to add to the loss."""
        step = self._now(step)
        acts = self.acts(step)
        if not points or (gated and not acts):
            return torch.zeros((), device=points[0].device if points else self._held.device)
        at = StepContext(step, lr, moves=acts and step != self._moved_at)
        total = torch.cat([values for _, values in self._values(points, at)]).sum()
        if at.moves and not points[0].is_meta:  # where nothing moved
            self._moved_at = step
        return self.every * total if gated and self.every > 1 else total

    def _read(self) -> list[Tensor]:
        return [term.points() for term, _ in self._weighted()]

    def _now(self, step: int | None) -> int:
        """The step that is given, or the number of updates seen."""
        if step is not None:
            return step
        mark = tuple(_mark(source) for layer in self.layers for source in layer.sources)
        if self._mark is not None and mark != self._mark:
            self._updates += 1
        self._mark = mark
        return self._updates

    def _values(self, points: Sequence[Tensor], at: StepContext) -> list[tuple[list[Term], Float[Tensor, " b"]]]:
        """The weighted terms, those that are alike together where stacks pay."""
        if not points:
            return []
        scale, device = self._schedule(at.step), points[0].device
        terms = zip(self._weighted(), points, strict=True)
        with without_autocast(device):
            if not batched.pay(device):
                return [([term], scale * weight * term(w, at)[None]) for (term, weight), w in terms]
            return [
                (alike, (scale * weight * batched.together(alike, of_each, at)).to(device))
                for alike, of_each, weight in _alike(terms)
            ]

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy is a penalty of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.handle = custom_op.handle_of(self)


class _Held:
    """The model, beside what a module takes for its own parts."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        parameter = next(self.model.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def with_params(self, params: Mapping[str, Tensor], ask: Callable[[], list[Tensor]]) -> list[Tensor]:
        """What `ask` returns while the model has these parameters. ValueError for one that it does not have."""
        known = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        known |= {name for name, _ in self.model.named_buffers(remove_duplicate=False)}
        if unknown := sorted(set(params) - known):
            raise ValueError(f"params: expected names of the model's parameters, found {', '.join(unknown[:5])}")
        asked = _Asked(self.model)
        named = {f"model.{name}": value for name, value in params.items()}
        found: list[Tensor] = torch.func.functional_call(asked, named, (ask,))
        return found


class _Asked(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ask: Callable[[], list[Tensor]]) -> list[Tensor]:
        return ask()


def _length(regularizer: spec.Regularizer, total_steps: int | None) -> int:
    if total_steps is not None:
        return total_steps
    if not isinstance(regularizer, spec.NoRegularizer) and not isinstance(regularizer.schedule, spec.Steady):
        raise ValueError(
            f"the weight of {regularizer.kind} follows the schedule {regularizer.schedule.kind}: "
            "expected build(…, total_steps=…), found none"
        )
    return 1


def _found(regularizer: spec.LayerPenalty | spec.FeaturePenalty, model: nn.Module, final: str | None) -> list[Layer]:
    """The model's layers. ValueError if it makes a difference which is the classifier, and that cannot be told."""
    names = read(model)
    if final is not None and final not in names:
        raise ValueError(f"final: {final!r} is no layer; there are {', '.join(names)}")
    known = classifier.Final(frozenset([final])) if final is not None else classifier.find(model, names)
    if known.doubt and _depends_on_final(regularizer):
        raise ValueError(
            f"cannot tell which layer is the classifier, as the forward could not be followed ({known.doubt}): "
            f"name it, build(…, final=…), one of {', '.join(names)}"
        )
    return layers(model, final=known.names)


def _depends_on_final(regularizer: spec.LayerPenalty | spec.FeaturePenalty) -> bool:
    if isinstance(regularizer, spec.FeaturePenalty):
        return True
    is_mirrored = isinstance(regularizer, spec.SpherePenalty) and regularizer.half_space
    return is_mirrored or regularizer.hidden_weight != regularizer.final_weight


def _classifier(found: Sequence[Layer]) -> Layer:
    finals = [layer for layer in found if layer.is_final]
    if len(finals) != 1:
        names = ", ".join(layer.name for layer in finals) or "none"
        raise ValueError(
            "features are what enters the classifier: expected a model with one layer that its outputs come out of, "
            f"found {names}: name it, build(…, final=…), one of {', '.join(layer.name for layer in found)}"
        )
    return finals[0]


def _add_layers(penalty: Penalty, regularizer: spec.LayerPenalty, found: list[Layer], seed: int) -> None:
    left_out = unread(penalty.model)
    _check_patterns(regularizer, found, left_out)
    wanted = [
        (layer, weight)
        for layer in chosen(found, regularizer.layers, field="regularizer.layers")
        if (weight := _weight(regularizer, layer)) > 0
    ]
    chosen(found, regularizer.layer_weights, field="regularizer.layer_weights")
    once: dict[tuple[int, ...], str] = {}
    for layer, _ in sorted(wanted, key=lambda each: not each[0].is_final):
        # Of a weight that several layers share, the classifier is the one that counts, else the first.
        once.setdefault(tuple(map(id, layer.sources)), layer.name)
    for layer, weight in wanted:
        first = once[tuple(map(id, layer.sources))]
        if first != layer.name:
            penalty.skipped[layer.name] = f"shares its weight with {first}, where it counts"
        elif reason := _too_small(regularizer, layer):
            penalty.skipped[layer.name] = reason
        else:
            penalty.add(of_layer(regularizer, layer, seed=seed, weight=weight), weight)
    if wanted and not penalty.weights:
        reasons = "; ".join(f"{name} {reason}" for name, reason in penalty.skipped.items())
        raise ValueError(f"{regularizer.kind} finds no layer that it could spread: {reasons}")
    for name, reason in left_out.items():
        if any(fnmatchcase(name, pattern) for pattern in regularizer.layers):
            penalty.skipped[name] = reason


def _check_patterns(regularizer: spec.LayerPenalty, found: Sequence[Layer], left_out: Mapping[str, str]) -> None:
    """ValueError for a pattern that matches nothing but what is not read."""
    for pattern in regularizer.layers:
        if any(fnmatchcase(layer.name, pattern) for layer in found):
            continue
        reasons = [f"{name} {reason}" for name, reason in left_out.items() if fnmatchcase(name, pattern)]
        if reasons:
            raise ValueError(f"regularizer.layers: {pattern!r} matches no layer that is read: {'; '.join(reasons[:5])}")


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


def _alike(
    terms: Iterable[tuple[tuple[Term, float], Tensor]],
) -> list[tuple[list[Term], list[Tensor], float]]:
    groups: dict[Hashable, tuple[list[Term], list[Tensor], float]] = {}
    for (term, weight), w in terms:
        alike, points, _ = groups.setdefault((weight, batched.likeness(term, w)), ([], [], weight))
        alike.append(term)
        points.append(w)
    return list(groups.values())


def _mark(source: Tensor) -> tuple[int, int]:
    """Another one for another tensor, and for the same after a change in place."""
    return id(source), 0 if source.is_inference() else source._version
