"""What is the weighted penalty of a model, and at which steps does it act? The sum over its layers.

Knows specs, layers and schedules. Knows no training loop. Lower is always better. A penalty is computed in at least
float32 and outside autocast: half-precision Gram matrices make the gradients wrong by several percent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.fast.closed_form import without_autocast
from hsu_core.regularizers import batched, custom_op
from hsu_core.regularizers.feature_terms import AnyTerm, Classes, OfClasses
from hsu_core.regularizers.in_use import InUse
from hsu_core.regularizers.layers import Layer
from hsu_core.regularizers.terms import AtPoles, StepContext


class Penalty(nn.Module):
    """Σ over layers of weight · term, times the schedule. Its buffers are the state that some terms keep between steps.

    Each call reads the weights from their place in the model.
    """

    def __init__(self, regularizer: spec.Regularizer, model: nn.Module, *, total_steps: int = 1) -> None:
        super().__init__()
        self.regularizer = regularizer
        self.total_steps = total_steps
        self.terms = nn.ModuleList()
        self.weights: list[float] = []
        self.skipped: dict[str, str] = {}
        """Layers that were chosen but cannot be regularized, and why."""
        self._held = _Held(model)  # not part of this module: the parameters belong to the model
        self._in_use: InUse | None = None
        self._updates = 0
        self._mark: tuple[object, ...] | None = None
        self._moved_at: int | None = None
        self.handle = custom_op.handle_of(self)

    def add(self, term: AnyTerm, weight: float) -> None:
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
        """Note from now on which weights the model's forwards use."""
        self._in_use = InUse(self.model, [layer.module for layer in self.layers])

    def forward(
        self,
        step: int | None = None,
        *,
        lr: float | None = None,
        params: Mapping[str, Tensor] | None = None,
        classes: Classes | Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """The addition to the loss at a step: on every k-th step k times the penalty, otherwise 0.

        Kept state (poles, projections) moves once a step, however often this is called. Without a step the penalty
        counts updates by itself: a call that finds the weights changed since the last call is the next step. (Changes
        through `.data` are not noticed: give the step then.) `lr` is the network's learning rate, which moves the
        authors' poles. `params` are weights to read instead of the model's, as for `torch.func.functional_call`.
        `classes` are those of the last batch's examples, one for each row of the features or `Classes`: `hug` needs
        them, others do not look at them.

        ValueError where an authors' pole must move without a rate, or without classes that are needed; RuntimeError if
        the model's last forward used other weights than the model's own, and `params` does not give them.
        """
        if torch.compiler.is_compiling():
            if params is not None:
                raise ValueError("params are not taken in a compiled step: call the penalty outside")
            return custom_op.compiled(self.handle, self.points(classes=classes), step, lr)
        points = self.points(params, classes=classes)
        if custom_op.is_transforming():
            return custom_op.transformed(self.handle, points, step, lr)
        return self.weighted_sum(points, step, lr=lr, gated=True)

    def value(
        self, step: int | None = None, *, lr: float | None = None, classes: Classes | Tensor | None = None
    ) -> Float[Tensor, ""]:
        """The recorded weighted penalty, whether or not it acts at this step. Otherwise the same as a call."""
        return self.weighted_sum(self.points(classes=classes), step, lr=lr, gated=False)

    def by_layer(
        self, step: int | None = None, *, lr: float | None = None, classes: Classes | Tensor | None = None
    ) -> dict[str, Tensor]:
        """The weighted term of each regularized layer; their sum is `value`. No kept state moves."""
        at = StepContext(self._now(step), lr, moves=False)
        found = {
            term.layer.name: value
            for terms, values in self._values(self.points(classes=classes), at)
            for term, value in zip(terms, values.unbind(), strict=True)
        }
        return {layer.name: found[layer.name] for layer in self.layers}

    def inner_gaps(self, step: int | None = None, *, lr: float | None = None) -> dict[str, Tensor]:
        """By layer, how much worse the worst pole is than those that the penalty found. Only for `mhp` and `mhc`."""
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
        return self.regularizer.every

    @property
    def needs_classes(self) -> bool:
        """Whether a call needs the classes of the batch."""
        return any(isinstance(term, OfClasses) for term in self.terms)

    def points(
        self, params: Mapping[str, Tensor] | None = None, *, classes: Classes | Tensor | None = None
    ) -> list[Tensor]:
        """The present points of each term."""
        known = Classes(classes) if isinstance(classes, Tensor) else classes
        if params is not None:
            return self._held.with_params(params, lambda: self._read(known))
        if self._in_use is not None and not torch.compiler.is_compiling():
            self._in_use.check()
        return self._read(known)

    def weighted_sum(
        self, points: Sequence[Tensor], step: int | None, *, lr: float | None, gated: bool
    ) -> Float[Tensor, ""]:
        """The penalty of these points at a step; with `gated` the addition to the loss."""
        step = self._now(step)
        acts = self.acts(step)
        if not points or (gated and not acts):
            return torch.zeros((), device=points[0].device if points else self._held.device)
        at = StepContext(step, lr, moves=acts and step != self._moved_at)
        total = torch.cat([values for _, values in self._values(points, at)]).sum()
        if at.moves and not points[0].is_meta:  # on `meta` nothing has moved
            self._moved_at = step
        return self.every * total if gated and self.every > 1 else total

    def _read(self, classes: Classes | None) -> list[Tensor]:
        return [term.beside(classes) if isinstance(term, OfClasses) else term.points() for term, _ in self._weighted()]

    def _now(self, step: int | None) -> int:
        """The given step, or the number of updates noticed."""
        if step is not None:
            return step
        mark = tuple(_mark(source) for layer in self.layers for source in layer.sources)
        if self._mark is not None and mark != self._mark:
            self._updates += 1
        self._mark = mark
        return self._updates

    def _values(self, points: Sequence[Tensor], at: StepContext) -> list[tuple[list[AnyTerm], Float[Tensor, " b"]]]:
        """The weighted terms; equal ones are computed together where stacks are faster."""
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

    def _weighted(self) -> list[tuple[AnyTerm, float]]:
        terms: list[AnyTerm] = list(self.terms)  # type: ignore[arg-type]  # a ModuleList has no element type
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
        """Make a copy an independent penalty."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.handle = custom_op.handle_of(self)


class _Held:
    """Contains the model without making it a submodule."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        parameter = next(self.model.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def with_params(self, params: Mapping[str, Tensor], ask: Callable[[], list[Tensor]]) -> list[Tensor]:
        """The result of `ask` while the model has these parameters. ValueError for one that the model lacks."""
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


def _alike(
    terms: Iterable[tuple[tuple[AnyTerm, float], Tensor]],
) -> list[tuple[list[AnyTerm], list[Tensor], float]]:
    groups: dict[Hashable, tuple[list[AnyTerm], list[Tensor], float]] = {}
    for (term, weight), w in terms:
        alike, points, _ = groups.setdefault((weight, batched.likeness(term, w)), ([], [], weight))
        alike.append(term)
        points.append(w)
    return list(groups.values())


def _mark(source: Tensor) -> tuple[int, int]:
    """A mark that differs for another tensor, and for the same tensor after a change in place."""
    return id(source), 0 if source.is_inference() else source._version
