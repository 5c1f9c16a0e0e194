"""Every regularizer, as a model has it, against the laws that hold for it whatever the weights: one table says which.

What a term draws at random (poles, projections, the start of a power iteration) is given to it here, so that it can be
moved together with the weights, and so that a plain formula can be told of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import pytest
import torch
from hypothesis import given, settings
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
    lengths: Literal["free", "proportional", "one"] = "free"
    """free: a row's length does not matter; proportional: the value grows with all of them; one: other lengths cost."""
    half_space: bool = False
    """Whether it is offered, and is then full space on the doubled set."""
    draws: Literal["nothing", "poles", "projections", "start"] = "nothing"

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
    "koleo": Laws(
        spec.KoLeo(), alone(lambda x: -((2 - 2 * cosines_to_others(x).amax(dim=1)).sqrt() + 1e-8).log().mean())
    ),
}


def where(**held: object) -> list[str]:
    """The names of the regularizers for which this is so."""
    return [name for name, laws in TABLE.items() if all(getattr(laws, key) == value for key, value in held.items())]


def test_the_table_states_the_laws_of_every_kind_of_the_spec() -> None:
    kinds = set(spec.kinds(spec.Regularizer))
    assert {laws.chosen.kind for laws in TABLE.values()} | {"none"} == kinds


def test_the_table_knows_which_have_a_half_space_to_choose() -> None:
    assert where(half_space=True) == [name for name in TABLE if isinstance(TABLE[name].chosen, spec.SpherePenalty)]


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
            classifier = nn.Linear(rows[0].shape[1], 2, dtype=rows[0].dtype)
            penalty = regularizers.build(chosen, classifier)
            classifier(rows[0])
            return penalty.value(step)
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


# --- formulas and gradients -------------------------------------------------------------------------------------------


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_in_float64_a_penalty_and_its_gradient_are_those_of_the_formula(
    name: str, shape: tuple[int, int], seed: int
) -> None:
    assert max(errors(name, points(*shape, seed))) < 1e-8


@pytest.mark.parametrize("name", [name for name in TABLE if name not in PROJECTED])
@few
@given(shape=shapes, seed=seeds)
def test_in_float32_they_are_those_of_the_formula_in_float64(name: str, shape: tuple[int, int], seed: int) -> None:
    assert max(errors(name, points(*shape, seed).float())) < 1e-5


@every_regularizer
@settings(max_examples=2)
@given(shape=st.sampled_from([(4, 7), (6, 3), (2, 5)]), seed=seeds)
def test_the_gradient_is_the_derivative(name: str, shape: tuple[int, int], seed: int) -> None:
    compute = partial(value, name, drawn=draw(name, *shape), **held(name))
    assert torch.autograd.gradcheck(compute, points(*shape, seed).requires_grad_())


# --- what changes nothing ---------------------------------------------------------------------------------------------


def rotation(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(points(d, d, seed))[0]


def turned(name: str, drawn: Tensor, turn: Tensor) -> Tensor:
    match TABLE[name].draws:
        case "poles":
            return drawn @ turn
        case "projections":
            return turn.T @ drawn
    return drawn


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_a_rotation_of_all_changes_nothing(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn, turn = points(*shape, seed), draw(name, *shape), rotation(shape[1], seed + 1)
    torch.testing.assert_close(
        value(name, w @ turn, drawn=turned(name, drawn, turn), step=ACTS),
        value(name, w, drawn=drawn, step=ACTS),
        rtol=1e-6,
        atol=1e-8,
    )


@every_regularizer
@few
@given(shape=shapes, seed=seeds)
def test_another_order_of_the_rows_changes_nothing(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    order = torch.randperm(len(w), generator=torch.Generator().manual_seed(seed))
    moved = drawn[order] if TABLE[name].draws == "start" else drawn
    torch.testing.assert_close(
        value(name, w[order], drawn=moved, step=ACTS), value(name, w, drawn=drawn, step=ACTS), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("name", [name for name in TABLE if name not in where(draws="nothing")])
def test_what_is_drawn_does_not_move_by_itself(name: str) -> None:
    w, drawn, turn = points(5, 6), draw(name, 5, 6), rotation(6, 1)
    moved = w.flip(0) if TABLE[name].draws == "start" else w @ turn
    before, after = (value(name, rows, drawn=drawn).item() for rows in (w, moved))
    assert after != pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", where(lengths="free"))
@few
@given(shape=shapes, seed=seeds)
def test_lengths_are_free_where_only_directions_count(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    lengths = 10.0 ** torch.randint(-100, 100, (len(w), 1), generator=torch.Generator().manual_seed(seed)).double()
    torch.testing.assert_close(
        value(name, w * lengths, drawn=drawn, step=ACTS),
        value(name, w, drawn=drawn, step=ACTS),
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("name", where(lengths="proportional"))
@few
@given(shape=shapes, seed=seeds, factor=st.floats(1e-3, 1e3))
def test_a_penalty_on_raw_weights_grows_with_them(name: str, shape: tuple[int, int], seed: int, factor: float) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    torch.testing.assert_close(value(name, factor * w, drawn=drawn), factor * value(name, w, drawn=drawn))


@pytest.mark.parametrize("name", where(lengths="one"))
@few
@given(n=st.integers(1, 6), seed=seeds, factor=st.floats(0.1, 10).filter(lambda factor: abs(factor - 1) > 1e-3))
def test_orthonormal_rows_of_another_length_cost(name: str, n: int, seed: int, factor: float) -> None:
    w, drawn = rotation(6, seed)[:n], draw(name, n, 6)
    assert value(name, factor * w, drawn=drawn) > value(name, w, drawn=drawn)


# --- many as one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", where(half_space=True))
@few
@given(shape=shapes.filter(lambda shape: shape[0] < 100), seed=seeds)
def test_half_space_is_full_space_on_the_doubled_set(name: str, shape: tuple[int, int], seed: int) -> None:
    w, drawn = points(*shape, seed), draw(name, *shape)
    doubled = value(name, torch.cat([w, -w]), drawn=drawn, half_space=False, **held(name))
    torch.testing.assert_close(value(name, w, drawn=drawn, **held(name)), doubled, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", where(of_features=False))
@few
@given(shape=shapes, seed=seeds)
def test_layers_of_one_shape_add_up_to_what_each_is_alone(name: str, shape: tuple[int, int], seed: int) -> None:
    a, b, drawn = points(*shape, seed), points(*shape, seed + 1), draw(name, *shape)
    together = value(name, a, b, drawn=drawn, step=ACTS)
    torch.testing.assert_close(
        together, value(name, a, drawn=drawn, step=ACTS) + value(name, b, drawn=drawn, step=ACTS)
    )


# --- rows at the edge -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TABLE if name not in PROJECTED])
@few
@given(
    shape=st.sampled_from([(2, 5), (6, 9), (30, 12), (40, 9)]),
    seed=seeds,
    magnitude=st.floats(-3, -1),
    sign=st.sampled_from([1, -1]),
    length=st.floats(0.1, 10),
)
def test_float32_is_right_with_a_pair_that_is_nearly_parallel_or_antipodal(
    name: str, shape: tuple[int, int], seed: int, magnitude: float, sign: int, length: float
) -> None:
    w = torch.nn.functional.normalize(points(*shape, seed), dim=1)
    w[1] = sign * length * (w[0] + 10**magnitude * torch.nn.functional.normalize(points(1, shape[1], seed + 1))[0])
    assert max(errors(name, w.float())) < 1e-4


@pytest.mark.parametrize("name", PROJECTED)
@few
@given(n=st.sampled_from([2, 9, 40]), seed=seeds, distance=st.sampled_from([1e-3, 1e-2, 1.0]))
def test_float32_is_right_with_a_projected_pair_up_to_the_rounding_of_the_projection(
    name: str, n: int, seed: int, distance: float
) -> None:
    w = torch.nn.functional.normalize(points(n, 60, seed), dim=1)
    w[1] = w[0] + distance * w[1]
    drawn = points(COUNT * 60, 30, seed=7).view(COUNT, 60, 30)
    assert max(errors(name, w.float(), drawn)) < 1e-6 / distance + 1e-5


@pytest.mark.parametrize("name", ["mma", "koleo"])
def test_among_many_that_nearly_coincide_each_finds_its_nearest(name: str) -> None:
    along = torch.tensor([0.0, 1.0, 2.1, 2.4, 4.0, 9.0], dtype=torch.float64) * 1e-4
    w = torch.stack([torch.ones_like(along), along], dim=1).float()
    assert max(errors(name, w)) < 1e-3


@pytest.mark.parametrize("name", where(lengths="free"))
@few
@given(n=st.integers(2, 12), d=st.integers(2, 9), seed=seeds, zeros=st.sets(st.integers(0, 11), min_size=1))
def test_a_row_of_zeros_counts_as_orthogonal_to_all_and_has_no_gradient(
    name: str, n: int, d: int, seed: int, zeros: set[int]
) -> None:
    w, drawn = points(n, d, seed), draw(name, n, d)
    gone = sorted(row % n for row in zeros)
    w[gone] = 0
    aside, drawn_aside = torch.nn.functional.pad(w, (0, n)), torch.nn.functional.pad(drawn, (0, n))
    aside[gone, torch.tensor(gone) + d] = 1
    if TABLE[name].draws == "projections":
        drawn_aside = torch.nn.functional.pad(drawn, (0, n, 0, n))
        drawn_aside[:, d:, NARROW:] = torch.eye(n, dtype=drawn.dtype)
        if d <= NARROW < d + n:
            return  # one of the two is projected, the other is not
    value_, gradient = evaluated(lambda w: value(name, w, drawn=drawn, **held(name)), w)
    torch.testing.assert_close(value_, value(name, aside, drawn=drawn_aside, **held(name)))
    assert gradient.isfinite().all()
    assert (gradient[gone] == 0).all()


@pytest.mark.parametrize("name", [name for name in TABLE if name not in where(lengths="free")])
@few
@given(n=st.integers(1, 9), d=st.integers(1, 9), seed=seeds)
def test_raw_weights_may_be_zeros_one_row_or_one_dimension(name: str, n: int, d: int, seed: int) -> None:
    w = points(n, d, seed).float()
    w[seed % n] = 0
    assert max(errors(name, w)) < 1e-5


@pytest.mark.parametrize("name", where(lengths="free", of_features=False))
@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_a_layer_without_a_pair_or_with_two_directions_is_refused(name: str, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="finds no layer that it could spread: 0 has"):
        value(name, points(*shape), drawn=draw(name, *shape))


@every_regularizer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(name: str, dtype: torch.dtype) -> None:
    w, drawn = points(20, 12).float(), draw(name, 20, 12).float()
    compute = partial(value, name, drawn=drawn, step=ACTS)

    def cast(w: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return compute(w)

    plain, gradient = evaluated(compute, w)
    same, same_gradient = evaluated(cast, w)
    assert same.dtype == torch.float32
    assert torch.equal(same, plain)
    assert torch.equal(same_gradient, gradient)


def finite_of_any_kind(n: int, d: int, seed: int) -> Tensor:
    """Random rows: some zero, some twice, some mirrored, some nearly so; of usual lengths, or of any that there is."""
    generator = torch.Generator().manual_seed(seed)
    w = points(n, d, seed)
    kind = torch.randint(0, 6, (n, 1), generator=generator)
    other = w[torch.randint(0, n, (n,), generator=generator)]
    for number, rows in enumerate((0 * w, other, -other * (1 + 1e-7), other + 1e-6 * w)):
        w = torch.where(kind == number, rows, w)
    if seed % 2:
        w = w * 10.0 ** torch.randint(-45, 39, (n, 1), generator=generator).double()
    largest = torch.finfo(torch.float32).max
    return w.clamp(-largest, largest).float()


@every_regularizer
@settings(max_examples=25)
@given(n=st.integers(2, 24), d=st.integers(2, 9), seed=seeds)
def test_no_finite_weights_give_a_nan(name: str, n: int, d: int, seed: int) -> None:
    drawn = draw(name, n, d).float()
    found, gradient = evaluated(partial(value, name, drawn=drawn, step=ACTS), finite_of_any_kind(n, d, seed))
    assert not found.isnan()
    assert not gradient.isnan().any()
