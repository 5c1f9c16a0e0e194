"""What does a regularizer add for one layer? Lower is always better.

Knows one layer at a time (several as one stack: `batched.py`), the energies, and the state that some terms keep (a
pole, a projection). Knows no features: `feature_terms.py` does. Knows no sum over layers and no schedule: `penalty.py`
does, which reads the points once a call and passes them in. Random numbers depend on seed, layer and step alone, so a
resumed run, and every rank of a parallel one, draws the same numbers.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar, assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hsu_core import authors, baselines, dispersion, fast, spec
from hsu_core.fast.directions import computable, unit_rows
from hsu_core.regularizers import inner_problem
from hsu_core.regularizers.layers import Layer
from hsu_core.regularizers.projections import KeptProjection, distortion, gaussian
from hsu_core.spec import plugins

Kept = TypeVar("Kept", bound=nn.Module)
Draw = Callable[[Tensor, torch.Generator | None], Tensor]
"""What a term draws for points of this shape, type and device."""


class StepContext(NamedTuple):
    """The step at which a penalty is computed."""

    step: int
    lr: float | None
    """The network's learning rate."""
    moves: bool
    """Whether kept state moves: once a step, if the penalty is part of the loss at this step."""


class Term(nn.Module, ABC):
    """The addition by one layer, before any weight."""

    def __init__(self, layer: Layer, seed: int) -> None:
        super().__init__()
        self.layer = layer
        self.seed = seed

    def points(self) -> Float[Tensor, "n d"]:
        """The present points of the term."""
        return self.layer.points()

    @abstractmethod
    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The value of these points at this step."""

    def generator(self, use: str, device: torch.device) -> torch.Generator | None:
        """Random numbers for one use, the same at every call. None on `meta`, where tensors have no values."""
        if device.type == "meta":
            return None
        name = f"{self.seed}/{self.layer.name}/{use}".encode()
        number = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
        return torch.Generator(device).manual_seed(number)


class OfWeights(Term):
    """A function of the layer's weights alone."""

    def __init__(self, layer: Layer, seed: int, *, loss: Callable[[Tensor], Tensor]) -> None:
        super().__init__(layer, seed)
        self.loss = loss

    def forward(self, w: Float[Tensor, "n d"], _at: StepContext) -> Float[Tensor, ""]:
        """The loss of the weights themselves."""
        return self.loss(w)


class AtPoles(Term):
    """The objective at the worst pole: poles maximise `objective`, weights minimise it."""

    def __init__(
        self, layer: Layer, seed: int, *, objective: inner_problem.Objective, inner: spec.Inner, weight: float
    ) -> None:
        super().__init__(layer, seed)
        self.objective = objective
        self.inner = inner
        self.weight = weight
        self.kept: inner_problem.PersistentPole | None = None
        if isinstance(inner, spec.AuthorsPole):
            self.kept = self._new_pole(inner, layer.points())

    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The objective at the worst poles, after they have moved."""
        return inner_problem.worst(self.objective(w, self._poles(w.detach(), at)))

    @torch.no_grad()
    def gap(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """How much worse a pole a longer search finds than the present worst pole. At least 0."""
        own = self._poles(w, at._replace(moves=False))
        climbed = inner_problem.climb(inner_problem.slope(self.objective, w), own, steps=LONG_SEARCH)
        others = inner_problem.fresh(
            self.objective, w, count=MANY_POLES, steps=LONG_SEARCH, generator=self.generator("gap", w.device)
        )
        best = self.objective(w, own).amax()
        found: Tensor = self.objective(w, torch.cat([own, climbed, others])).amax()
        return found - best

    def _poles(self, w: Tensor, at: StepContext) -> Float[Tensor, "m d"]:
        if isinstance(self.inner, spec.FreshPoles):
            start = self.drawn(self.inner, w, at)
            return inner_problem.climb(inner_problem.slope(self.objective, w), start, steps=self.inner.steps)
        kept = self.pole(w)
        if at.moves:
            kept.advance(self.objective, w, lr=at.lr)
        return kept.beside(w)

    def pole(self, w: Float[Tensor, "*b n d"]) -> inner_problem.PersistentPole:
        """The kept pole, on the device of the weights, which may have changed since the penalty was built."""
        assert self.kept is not None
        assert isinstance(self.inner, spec.AuthorsPole)
        self.kept = _beside(self.kept, self.kept.pole, w, partial(self._new_pole, self.inner, w))
        return self.kept

    def _new_pole(self, inner: spec.AuthorsPole, w: Tensor) -> inner_problem.PersistentPole:
        generator = self.generator("pole", torch.device("cpu"))
        return inner_problem.PersistentPole(inner, w.shape[-1], weight=self.weight, generator=generator).to(w.device)

    def drawn(self, inner: spec.FreshPoles, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, "m d"]:
        """The start of the fresh poles at this step."""
        return inner_problem.drawn(inner.poles, like=w, generator=self.generator(f"poles/{at.step}", w.device))


MANY_POLES, LONG_SEARCH = 64, 40
"""Poles and steps of the search for the recorded gap."""


class OfProjections(Term):
    """The energy of the layer's neurons in fewer dimensions, as a mean over projections.

    A projection rounds: float32 rows at distance δ are correct to about 10⁻⁷/δ. In float64 it would take twice as long.
    """

    def __init__(self, layer: Layer, seed: int, *, loss: Callable[[Tensor], Tensor], how: spec.CoMHE) -> None:
        super().__init__(layer, seed)
        self.loss = loss
        self.how = how
        self.kept: KeptProjection | None = None
        self.is_projected = how.project_classifier or not layer.is_final
        w = layer.points().detach()
        if how.projection != "random" and self.is_wide(w):
            self.kept = self._new_projection(w)

    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The mean energy; that of the neurons themselves if they have no more dimensions than a projection."""
        if not self.is_wide(w):
            return self.loss(w)
        if self.how.arithmetic == "authors":
            return torch.stack([self.loss(w @ matrix) for matrix in self._of_authors(w, at)]).mean()
        w = unit_rows(w)  # so that the projections are finite for any lengths
        return torch.stack([self.loss(w @ matrix) for matrix in self.matrices(w.detach(), at)]).mean()

    def matrices(self, w: Tensor, at: StepContext) -> Float[Tensor, "count d p"]:
        """The projections at this step, after the kept ones have moved."""
        if self.kept is None:
            generator = self.generator(f"projections/{at.step}", w.device)
            drawn = gaussian(w.shape[1], self.how.dimension, count=self.how.projections, like=w, generator=generator)
            return drawn * self.how.dimension**0.5 if self.how.arithmetic == "authors" else drawn
        kept = self.kept = _beside(self.kept, self.kept.matrix, w, partial(self._new_projection, w))
        if at.moves and kept.matrix.device == w.device:
            kept.advance(self._own_loss(w), lr=self._rate(at))
        matrix: Tensor = kept()
        return matrix.to(w.device)

    def _of_authors(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, "count d p"]:
        """The authors' projections of raw weights: a kept one after one more step, with the gradient through it."""
        matrices = self.matrices(w.detach(), at)
        if self.kept is None:
            return matrices
        one_more = authors.stepped(w, matrices[0], lr=self._rate(at), s=self.how.s, kind=self.how.projection)
        return one_more[None]

    def _own_loss(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """The loss that a kept projection minimises."""
        if self.how.arithmetic == "authors":
            theirs = partial(authors.projection_loss, w, s=self.how.s, kind=self.how.projection)
            return lambda matrix: theirs(matrix) + authors.DECAY / 2 * matrix.square().sum()
        return self._distortion(w) if self.how.projection == "angle" else self._relief(w)

    def _rate(self, at: StepContext) -> float:
        rate = self.how.lr or at.lr
        if rate is None:
            raise ValueError(
                "a kept projection without lr moves by the network's learning rate: expected penalty(step, lr=…), "
                "found none"
            )
        return rate

    def _new_projection(self, w: Tensor) -> KeptProjection:
        return KeptProjection(
            w.shape[1],
            self.how.dimension,
            steps=self.how.steps,
            like=torch.empty(0, dtype=w.dtype),
            generator=self.generator("projection", torch.device("cpu")),
            spread=1.0 if self.how.arithmetic == "authors" else None,
        ).to(w.device)

    def _distortion(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda matrix: distortion(w, matrix)

    def _relief(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda matrix: -self.loss(w @ matrix)

    def is_wide(self, w: Tensor) -> bool:
        """Whether the neurons are projected: they have more dimensions than a projection, and are not excluded."""
        return self.is_projected and w.shape[1] > self.how.dimension


class OfStretch(Term):
    """SRIP: the spectral norm of WWᵀ − I by power iteration from a random start."""

    def __init__(self, layer: Layer, seed: int, *, iterations: int, arithmetic: str) -> None:
        super().__init__(layer, seed)
        self.iterations = iterations
        self.is_authors = arithmetic == "authors"

    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The estimate from this step's start."""
        if self.is_authors:
            w = w.mT if len(w) > w.shape[1] else w
            return baselines.spectral_isometry(w, self.start(w, at), iterations=self.iterations).square()
        return baselines.spectral_isometry(w, self.start(w, at), iterations=self.iterations)

    def start(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, " n"]:
        """The start of the iteration at this step."""
        generator = self.generator(f"start/{at.step}", w.device)
        if self.is_authors:
            return torch.rand(len(w), dtype=w.dtype, device=w.device, generator=generator)
        return torch.randn(len(w), dtype=w.dtype, device=w.device, generator=generator)


class OfDraws(Term):
    """A function of the layer's weights and of random numbers, new at each step."""

    def __init__(self, layer: Layer, seed: int, *, draw: Draw, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(layer, seed)
        self.draw = draw
        self.loss = loss

    def forward(self, w: Float[Tensor, "n d"], at: StepContext) -> Float[Tensor, ""]:
        """The loss with what is drawn at this step."""
        w = computable(w)
        return self.loss(w, self.draw(w.detach(), self.generator(f"draws/{at.step}", w.device)))


class OfPlugin(Term):
    """A plug-in's function of one layer's neurons, in half space of them and their mirror images."""

    def __init__(self, layer: Layer, seed: int, *, loss: Callable[[Tensor], Tensor], half_space: bool) -> None:
        super().__init__(layer, seed)
        self.loss = loss
        self.half_space = half_space

    def forward(self, w: Float[Tensor, "n d"], _at: StepContext) -> Float[Tensor, ""]:
        """The function's value."""
        return self.loss(torch.cat([w, -w]) if self.half_space else w)


LayerTerm = OfWeights | AtPoles | OfProjections | OfStretch | OfDraws | OfPlugin
"""Every kind of term of a layer's weights."""


def _mhe(chosen: spec.MHE | spec.CoMHE, *, half_space: bool) -> Callable[[Tensor], Tensor]:
    if chosen.arithmetic == "authors":
        return partial(authors.mhe, s=chosen.s, angular=chosen.angular, half_space=half_space)
    return partial(
        fast.riesz,
        s=chosen.s,
        angular=chosen.angular,
        half_space=half_space,
        low_precision=chosen.low_precision,
    )


def _negative(energy: Callable[..., Tensor], **how: bool) -> Callable[[Tensor], Tensor]:
    return lambda w: -energy(w, **how)


def layer_term(chosen: spec.LayerRegularizer, layer: Layer, *, seed: int, weight: float) -> LayerTerm:
    """The term of a regularizer for one layer; `weight` is the factor of the whole term."""
    half_space = chosen.is_mirrored and not layer.is_final
    of_weights = partial(OfWeights, layer, seed)
    match chosen:
        case spec.MHE():
            return of_weights(loss=_mhe(chosen, half_space=half_space))
        case spec.MHS(arithmetic="authors"):
            return of_weights(loss=partial(authors.mhs, half_space=half_space))
        case spec.MGD(arithmetic="authors"):
            return of_weights(loss=partial(authors.mgd, half_space=half_space))
        case spec.MHS():
            return of_weights(
                loss=_negative(fast.separation, half_space=half_space, low_precision=chosen.low_precision)
            )
        case spec.MGD():
            return of_weights(loss=_negative(fast.gram_determinant, half_space=half_space))
        case spec.RMHP():
            return of_weights(loss=fast.resultant)
        case spec.MHP():
            polarization = partial(fast.polarization, half_space=half_space)
            theirs = partial(authors.mhp, half_space=half_space)
            objective = theirs if chosen.arithmetic == "authors" else lambda w, v: -polarization(w, v)
            return AtPoles(layer, seed, objective=objective, inner=chosen.inner, weight=weight)
        case spec.MHC():
            of_poles = authors.mhc if chosen.arithmetic == "authors" else fast.covering
            covering = partial(of_poles, gamma=chosen.gamma, half_space=half_space)
            return AtPoles(layer, seed, objective=covering, inner=chosen.inner, weight=weight)
        case spec.CoMHE():
            return OfProjections(layer, seed, loss=_mhe(chosen, half_space=half_space), how=chosen)
        case spec.SRIP():
            return OfStretch(layer, seed, iterations=chosen.iterations, arithmetic=chosen.arithmetic)
        case spec.SO():
            return of_weights(loss=baselines.soft_orthogonality)
        case spec.DSO():
            return of_weights(loss=baselines.double_soft_orthogonality)
        case spec.MutualCoherence():
            return of_weights(loss=baselines.mutual_coherence)
        case spec.MMA():
            return of_weights(loss=baselines.minimal_angles)
        case spec.Lloyd():
            loss = partial(dispersion.lloyd, half_space=half_space)
            return OfDraws(layer, seed, draw=partial(vectors, chosen.samples), loss=loss)
        case spec.SlicedDispersion():
            loss = partial(dispersion.sliced_dispersion, half_space=half_space)
            return OfDraws(layer, seed, draw=partial(_planes, chosen.circles), loss=loss)
        case spec.PluginLayerPenalty():
            return OfPlugin(layer, seed, loss=plugins.built_by(chosen.builder)(chosen), half_space=half_space)
        case _:
            assert_never(chosen)


def vectors(count: int, like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "count d"]:
    """Random vectors, of which only the directions count."""
    return inner_problem.drawn(count, like=like, generator=generator)


def _planes(count: int, like: Tensor, generator: torch.Generator | None) -> Float[Tensor, "count d 2"]:
    return gaussian(like.shape[1], 2, count=count, like=like, generator=generator)


def _beside(kept: Kept, state: Tensor, w: Tensor, new: Callable[[], Kept]) -> Kept:
    """The kept state on the device of the weights; started anew if it was on `meta`, where it had no values."""
    if w.device == state.device or w.is_meta:
        return kept
    return new() if state.is_meta else kept.to(w.device)
