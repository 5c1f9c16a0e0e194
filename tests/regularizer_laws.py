"""Which laws hold for each regularizer, as a model has it, whatever the weights? One table says it.

What a term draws at random (poles, projections, the start of a power iteration) is given to it here, so that it can be
moved together with the weights, and so that a plain formula can be told of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hsu_core import baselines, energies, regularizers, spec
from hsu_core.regularizers import inner_problem, projections, terms

Formula = Callable[[Tensor, Tensor], Tensor]
"""The unweighted term of the rows w and of what was drawn, as it stands in the paper; differentiable."""


class Laws(NamedTuple):
    """What holds for a regularizer. For all: rotations and permutations change nothing, if what is drawn moves too."""

    chosen: spec.LayerPenalty | spec.FeaturePenalty
    formula: Formula
    lengths: Literal["free", "proportional", "one", "own"] = "free"
    """free: a row's length does not matter; proportional: the value grows with all of them; one: other lengths cost;
    own: it counts in a way of its own."""
    half_space: bool = False
    """Whether it is offered, and is then full space on the doubled set."""
    draws: Literal["nothing", "poles", "projections", "planes", "start", "classes"] = "nothing"
    """classes: the class vectors; an example is of the class whose vector is nearest, so its class moves with it."""
    of_dimension: bool = False
    """Whether the value differs for the same rows in a space of more dimensions."""

    @property
    def of_features(self) -> bool:
        return isinstance(self.chosen, spec.FeaturePenalty)

    @property
    def weight(self) -> float:
        return self.chosen.weight if isinstance(self.chosen, spec.FeaturePenalty) else self.chosen.hidden_weight


# --- the formulas -----------------------------------------------------------------------------------------------------


def alone(loss: Callable[[Tensor], Tensor]) -> Formula:
    return lambda w, _: loss(w)


def excess(w: Tensor) -> Tensor:
    return w @ w.T - torch.eye(len(w), dtype=w.dtype)


def doubled(formula: Formula) -> Formula:
    return lambda w, drawn: formula(torch.cat([w, -w]), drawn)


def squared_to_nearest(w: Tensor, samples: Tensor) -> Tensor:
    """Of Lloyd's dispersion: by every angle."""
    cosines = (samples / samples.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
    return cosines.arccos().amin(dim=1).square().mean()


def unevenness(w: Tensor, planes: Tensor) -> Tensor:
    """Of sliced dispersion: Gram and Schmidt, then each neuron beside its own place on the circle."""
    values = []
    for first, second in planes.mT:
        p = first / first.norm()
        q = second - (second @ p) * p
        q = q - (q @ p) * p  # again, for what was rounded where the two are nearly parallel
        angles = torch.atan2(w @ (q / q.norm()), w @ p)
        rank = angles.argsort().argsort().to(w.dtype)
        even = -math.pi + 2 * math.pi * (rank + 1) / len(w) - math.pi / len(w)
        values.append((angles - angles.mean() - even).square().mean() / 2)
    return torch.stack(values).mean()


def wasserstein(x: Tensor) -> Tensor:
    """Of Wasserstein uniformity: by the eigenvalues of the smaller of two matrices, neither of which has a 0."""
    z = x / x.norm(dim=1, keepdim=True)
    n, d = z.shape
    # Orthonormal contrasts of the rows: they take the mean away, and with it one row.
    contrasts = torch.linalg.qr(torch.cat([torch.ones(n, 1), torch.eye(n)[:, 1:]], dim=1).to(z.dtype)).Q[:, 1:]
    rest = contrasts.T @ z
    gram = rest @ rest.T if n - 1 <= d else rest.T @ rest
    variances = torch.linalg.eigvalsh(gram) / n
    squared = z.mean(dim=0).square().sum() + 1 + variances.sum() - 2 / d**0.5 * variances.sqrt().sum()
    return squared.sqrt()


def non_normality(x: Tensor, directions: Tensor) -> Tensor:
    """Of SIGReg: with complex numbers."""
    t = torch.linspace(-5, 5, 17, dtype=x.dtype)
    normal = torch.exp(-(t**2) / 2)
    found = torch.exp(1j * (x @ (directions / directions.norm(dim=1, keepdim=True)).T)[..., None] * t).mean(dim=0)
    return len(x) * torch.trapezoid((found - normal).abs() ** 2 * normal, t, dim=1).mean()


def nearest(x: Tensor, vectors: Tensor) -> Tensor:
    return (x.double() @ torch.nn.functional.normalize(vectors.double(), dim=1).T).argmax(dim=1)


def gap_of_classes(x: Tensor, vectors: Tensor) -> Tensor:
    """Of HUG: by cosines, pair by pair."""
    z, v = x / x.norm(dim=1, keepdim=True), vectors / vectors.norm(dim=1, keepdim=True)
    pairs = [1 / (v[i] - v[j]).square().sum() for i, j in itertools.combinations(range(len(v)), 2)]
    cosines = torch.stack([a @ v[k] for a, k in zip(z, nearest(x, vectors).tolist(), strict=True)])
    return torch.stack(pairs).mean() + (2 - 2 * cosines).sqrt().mean()


def stretch(w: Tensor, start: Tensor) -> Tensor:
    v = start
    for _ in range(2):
        v = torch.nn.functional.normalize(excess(w) @ v, dim=0)
    return (excess(w) @ v).norm()


def cosines_to_others(w: Tensor) -> Tensor:
    x = torch.nn.functional.normalize(w, dim=1)
    return (x @ x.T)[~torch.eye(len(x), dtype=torch.bool)].view(len(x), -1)


def at_worst_pole(energy: Callable[..., Tensor], sign: int, count: int) -> Formula:
    return lambda w, v: inner_problem.worst(
        sign * torch.stack([energy(w, pole, half_space=True) for pole in v[:count]])
    )


def projected(w: Tensor, matrices: Tensor, *, count: int) -> Tensor:
    if w.shape[1] <= NARROW:
        return energies.riesz(w, half_space=True)
    return torch.stack([energies.riesz(w @ matrix, half_space=True) for matrix in matrices[:count]]).mean()


# --- the table --------------------------------------------------------------------------------------------------------

COUNT, NARROW = 3, 4
"""How many poles and projections there are here, and in how many dimensions a projection ends."""

FRESH, AUTHORS = spec.FreshPoles(poles=COUNT, steps=6), spec.AuthorsPole()

TABLE: dict[str, Laws] = {
    **{
        f"mhe s={s} angular={angular}": Laws(
            spec.MHE(s=s, angular=angular),
            alone(partial(energies.riesz, s=s, angular=angular, half_space=True)),
            half_space=True,
        )
        for s, angular in itertools.product((0.0, 1.0, 2.0, 3.5), (False, True))
    },
    "mhs": Laws(spec.MHS(), alone(lambda w: -energies.separation(w, half_space=True)), half_space=True),
    "mgd": Laws(spec.MGD(), alone(lambda w: -energies.gram_determinant(w, half_space=True)), half_space=True),
    **{
        f"mhp {inner.kind}": Laws(
            spec.MHP(inner=inner), at_worst_pole(energies.polarization, -1, count), half_space=True, draws="poles"
        )
        for inner, count in ((FRESH, COUNT), (AUTHORS, 1))
    },
    **{
        f"mhc {inner.kind}": Laws(
            spec.MHC(inner=inner), at_worst_pole(energies.covering, 1, count), half_space=True, draws="poles"
        )
        for inner, count in ((FRESH, COUNT), (AUTHORS, 1))
    },
    "rmhp": Laws(spec.RMHP(), alone(lambda w: w.sum(dim=0).norm()), lengths="proportional"),
    **{
        f"comhe {projection}": Laws(
            spec.CoMHE.model_validate({"projection": projection, "dimension": NARROW, "projections": COUNT}),
            partial(projected, count=COUNT if projection == "random" else 1),
            half_space=True,
            draws="projections",
        )
        for projection in ("random", "angle", "adversarial")
    },
    "so": Laws(spec.SO(), alone(lambda w: excess(w).square().sum()), lengths="one"),
    "dso": Laws(spec.DSO(), alone(lambda w: excess(w).square().sum() + excess(w.T).square().sum()), lengths="one"),
    "mutual_coherence": Laws(spec.MutualCoherence(), alone(lambda w: excess(w).abs().amax()), lengths="one"),
    "srip": Laws(spec.SRIP(), stretch, lengths="one", draws="start"),
    "mma": Laws(spec.MMA(), alone(lambda w: -cosines_to_others(w).amax(dim=1).arccos().mean())),
    "uniformity": Laws(
        spec.Uniformity(), alone(lambda x: (4 * (cosines_to_others(x) - 1)).exp().mean().log())
    ),  # exp(−2 ‖a − b‖²)
    "lloyd": Laws(spec.Lloyd(samples=COUNT), doubled(squared_to_nearest), half_space=True, draws="poles"),
    "sliced_dispersion": Laws(
        spec.SlicedDispersion(circles=COUNT), doubled(unevenness), half_space=True, draws="planes"
    ),
    "wasserstein_uniformity": Laws(spec.WassersteinUniformity(), alone(wasserstein), of_dimension=True),
    "sliced_gaussian": Laws(spec.SlicedGaussian(directions=COUNT), non_normality, lengths="own", draws="poles"),
    "hug": Laws(spec.HUG(), gap_of_classes, draws="classes"),
    "koleo": Laws(
        spec.KoLeo(), alone(lambda x: -((2 - 2 * cosines_to_others(x).amax(dim=1)).sqrt() + 1e-8).log().mean())
    ),
}


def where(**held: object) -> list[str]:
    """The names of the regularizers for which this is so."""
    return [name for name, laws in TABLE.items() if all(getattr(laws, key) == value for key, value in held.items())]


# --- a penalty of given rows, with given draws ------------------------------------------------------------------------

ACTS, LOOKS = 2, 1
"""Steps at which what is kept moves before the penalty is taken, and at which it stays."""


def value(name: str, *rows: Tensor, drawn: Tensor, step: int = LOOKS, **changed: object) -> Tensor:
    """The penalty of hidden layers with these rows, or of one batch of these features."""
    laws = TABLE[name]
    chosen = laws.chosen.model_copy(update={"every": 2, **changed})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inner_problem, "drawn", lambda *_, **__: drawn)
        patch.setattr(terms, "gaussian", lambda *_, **__: drawn)
        patch.setattr(baselines, "spectral_isometry", partial(_from_start, baselines.spectral_isometry, drawn))
        if laws.of_features:
            classifier = layer_of(drawn) if laws.draws == "classes" else nn.Linear(rows[0].shape[1], 2)
            penalty = regularizers.build(chosen, classifier)
            classifier.to(rows[0].dtype)(rows[0])
            known = nearest(rows[0], drawn) if laws.draws == "classes" else None
            return penalty.value(step, classes=known)
        chosen = chosen.model_copy(update={"layers": tuple(str(i) for i in range(len(rows)))})
        penalty = regularizers.build(chosen, nn.Sequential(*map(layer_of, rows), nn.Linear(1, 1)))
        for part in penalty.to(drawn.dtype).modules():
            if isinstance(part, inner_problem.PersistentPole):
                part.pole = drawn[:1].clone()
            if isinstance(part, projections.KeptProjection):
                part.matrix = drawn[0].clone()
        return penalty.value(step, lr=0.01)


def _from_start(iterate: Callable[..., Tensor], start: Tensor, w: Tensor, _: Tensor, *, iterations: int) -> Tensor:
    return iterate(w, start, iterations=iterations)


def layer_of(rows: Tensor) -> nn.Module:
    layer = nn.Linear(1, 1)
    del layer.weight
    layer.weight = rows  # no Parameter, so that a gradient can be taken through it
    return layer


def held(name: str) -> dict[str, object]:
    """What makes the poles those that were drawn: no gradient goes through their moves."""
    chosen = TABLE[name].chosen
    fresh = isinstance(chosen, (spec.MHP, spec.MHC)) and isinstance(chosen.inner, spec.FreshPoles)
    return {"inner": FRESH.model_copy(update={"steps": 0})} if fresh else {}


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(name: str, n: int, d: int) -> Tensor:
    """What this term would draw."""
    if TABLE[name].draws == "projections":
        return points(COUNT * d, NARROW, seed=7).view(COUNT, d, NARROW)
    if TABLE[name].draws == "planes":
        return points(COUNT * d, 2, seed=7).view(COUNT, d, 2)
    return points(n, 1, seed=7).squeeze(1) if TABLE[name].draws == "start" else points(COUNT, d, seed=7)


def evaluated(compute: Callable[[Tensor], Tensor], w: Tensor) -> tuple[Tensor, Tensor]:
    """The value and its gradient."""
    leaf = w.detach().clone().requires_grad_()
    result = compute(leaf)
    return result.detach(), torch.autograd.grad(result, leaf)[0]


def errors(name: str, w: Tensor, drawn: Tensor | None = None) -> tuple[float, float]:
    """The relative errors of the weighted penalty and of its gradient, against autograd of the formula in float64."""
    laws, drawn = TABLE[name], draw(name, *w.shape) if drawn is None else drawn
    found = evaluated(lambda w: value(name, w, drawn=drawn.to(w.dtype), **held(name)), w)
    exact = evaluated(lambda w: laws.weight * laws.formula(w, drawn.to(w.dtype).double()), w.double())
    of_value, of_gradient = (
        ((a.double() - b).norm() / b.norm().clamp_min(1e-30)).item() for a, b in zip(found, exact, strict=True)
    )
    return of_value, of_gradient


seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(2, 2), (3, 7), (6, 5), (5, 6), (12, 3), (9, 30), (40, 4), (150, 6)])
"""Fewer rows than dimensions, as many, far more, and more than one tile."""

PROJECTED = where(draws="projections")
"""A projection rounds, to about 10⁻⁷ of a row, and may bring rows together: in float32 they have laws of their own."""

every_regularizer = pytest.mark.parametrize("name", TABLE)
few = settings(max_examples=10)
