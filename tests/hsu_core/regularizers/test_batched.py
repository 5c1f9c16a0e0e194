"""Layers of one shape as one stack: the values, gradients and kept state of each alone, for fewer calls.

In a stack nothing may be looked at, as on a GPU, so that these tests run the very way that a GPU goes.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import get_args

import launches
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hsu_core import baselines, fast, regularizers, spec
from hsu_core.regularizers import batched, feature_terms, terms

Energy = Callable[[Tensor], Tensor]


def at_poles(energy: Callable[..., Tensor], **options: object) -> Energy:
    """At three poles, the same for every matrix."""
    return lambda w: energy(w, poles_of(w), **options).sum(dim=-1)


def poles_of(w: Tensor) -> Tensor:
    return points(3, w.shape[-1], seed=99).to(w.dtype).expand(*w.shape[:-2], -1, -1)


def stretch(w: Tensor) -> Tensor:
    return baselines.spectral_isometry(w, torch.linspace(-1, 2, w.shape[-2], dtype=w.dtype).expand(w.shape[:-1]))


HALVES = (False, True)
ENERGIES: dict[str, Energy] = {
    **{
        f"riesz s={s} angular={angular} half={half}": partial(fast.riesz, s=s, angular=angular, half_space=half)
        for s, angular, half in itertools.product((0.0, 1.0, 2.0, 3.5, 20.0), HALVES, HALVES)
    },
    **{
        f"{energy.__name__} half={half}": partial(energy, half_space=half)
        for energy, half in itertools.product((fast.separation, fast.gram_determinant), HALVES)
    },
    **{
        f"{energy.__name__} half={half}": at_poles(energy, half_space=half)
        for energy, half in itertools.product((fast.polarization, fast.covering), HALVES)
    },
    "resultant": fast.resultant,
    "soft_orthogonality": baselines.soft_orthogonality,
    "double_soft_orthogonality": baselines.double_soft_orthogonality,
    "mutual_coherence": baselines.mutual_coherence,
    "spectral_isometry": stretch,
    "minimal_angles": baselines.minimal_angles,
}
NEED_A_PAIR = [
    name for name in ENERGIES if name == "minimal_angles" or ("half=False" in name and name[:4] in ("ries", "sepa"))
]

seeds = st.integers(0, 2**32 - 1)


def points(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_any_kind(n: int, d: int, seed: int) -> Tensor:
    """Random rows: some zero, some twice, some mirrored, some nearly so, some long and some short."""
    generator = torch.Generator().manual_seed(seed)
    w = points(n, d, seed)
    kind = torch.randint(0, 8, (n, 1), generator=generator)
    other = w[torch.randint(0, n, (n,), generator=generator)]
    for number, rows in enumerate((0 * w, other, -other, other + 1e-3 * w, 1e-20 * w)):
        w = torch.where(kind == number, rows, w)
    return w


def evaluated(energy: Energy, w: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of their sum."""
    leaf = w.detach().clone().requires_grad_()
    values = energy(leaf)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


every_energy = pytest.mark.parametrize("name", ENERGIES)
few = settings(max_examples=15)


# --- laws of a stack --------------------------------------------------------------------------------------------------


@every_energy
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@settings(max_examples=5)
@given(shape=st.sampled_from([(9, 30), (64, 27), (150, 60), (140, 200)]), seed=seeds)
def test_a_stack_has_the_values_and_gradients_of_each_matrix_alone(
    name: str, dtype: torch.dtype, tolerance: float, shape: tuple[int, int], seed: int
) -> None:
    w = torch.stack([points(*shape, seed + layer) for layer in range(3)]).to(dtype)
    values, gradients = evaluated(ENERGIES[name], w)
    for layer, value, gradient in zip(w, values, gradients, strict=True):
        alone, alone_gradient = evaluated(ENERGIES[name], layer)
        assert abs(value - alone) <= tolerance * alone.abs().clamp_min(1)
        assert (gradient - alone_gradient).norm() <= tolerance * alone_gradient.norm()


@every_energy
@few
@given(n=st.integers(1, 30), d=st.integers(1, 12), seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_whatever_the_rows_are_the_rest_of_a_stack_changes_no_bit(
    name: str, n: int, d: int, seed: int, dtype: torch.dtype
) -> None:
    n = max(n, 2) if name in NEED_A_PAIR else n
    w = torch.stack([of_any_kind(n, d, seed + layer) for layer in range(3)]).to(dtype)
    values, gradients = evaluated(ENERGIES[name], w)
    assert not values.isnan().any()
    assert not gradients.isnan().any()
    for k, layer in enumerate(w):
        same, same_gradients = evaluated(ENERGIES[name], layer.repeat(3, 1, 1))
        assert torch.equal(values[k], same[k])
        assert torch.equal(gradients[k], same_gradients[k])


@pytest.mark.parametrize("name", [name for name in ENERGIES if "s=20" not in name])  # too large for float32
@few
@given(seed=seeds, magnitude=st.floats(-3, -1), shape=st.sampled_from([(9, 30), (30, 50), (40, 9)]))
def test_a_pair_that_nearly_coincides_is_as_right_in_a_stack_as_alone(
    name: str, seed: int, magnitude: float, shape: tuple[int, int]
) -> None:
    w = torch.stack([points(*shape, seed + layer) for layer in range(2)])
    w[1, 3] = 2 * w[1, 5] + 10**magnitude * w[1, 3]
    w = w.float()
    values, gradients = evaluated(ENERGIES[name], w)
    exact, exact_gradients = evaluated(ENERGIES[name], w[1].double())
    assert abs(values[1] - exact) <= 1e-4 * exact.abs()
    assert (gradients[1] - exact_gradients).norm() <= 1e-4 * exact_gradients.norm()


@pytest.mark.parametrize("name", [name for name in ENERGIES if "half" in name or name == "resultant"])
def test_autocast_changes_nothing_in_a_stack(name: str) -> None:
    w = torch.stack([points(20, 12, seed) for seed in range(3)]).float()
    plain = evaluated(ENERGIES[name], w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = evaluated(ENERGIES[name], w)
    assert all(map(torch.equal, plain, same))


@pytest.mark.parametrize("tile", [(3, 4), (5, 100)])
@pytest.mark.parametrize("shape", [(13, 5), (11, 30)])
@pytest.mark.parametrize("energy", [fast.riesz, fast.separation])
def test_a_streamed_stack_is_a_dense_one(
    energy: Callable[..., Tensor], shape: tuple[int, int], tile: tuple[int, int]
) -> None:
    w = torch.stack([points(*shape, seed) for seed in range(3)])
    streamed, dense = (evaluated(partial(energy, _tile=size), w) for size in (tile, (13, 13)))
    torch.testing.assert_close(streamed, dense, rtol=1e-10, atol=1e-12)


def test_poles_of_another_stack_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in 4 dimensions, found \(3, 2, 4\)"):
        fast.covering(torch.ones(2, 5, 4), torch.ones(3, 2, 4))


# --- the penalty of a model -------------------------------------------------------------------------------------------

KINDS: dict[str, spec.Regularizer] = launches.KINDS | {
    "mhp, authors' pole": spec.MHP(inner=spec.AuthorsPole()),
    **{f"comhe {kind}": spec.CoMHE(projection=kind, dimension=5) for kind in ("random", "angle", "adversarial")},
    **{
        f"authors' {kind} {options}": spec.ClassificationSpec.model_validate(
            {
                "dataset": {"kind": "digits"},
                "model": {"kind": "mlp"},
                "duration": {"steps": 1},
                "regularizer": {"kind": kind, "preset": "authors", **options},
            }
        ).regularizer
        for kind, options in [
            *[
                ("mhe", {"s": 0}),
                ("mhe", {"s": 1, "angular": True}),
                ("mhs", {}),
                ("mhp", {}),
                ("mhc", {}),
                ("mgd", {}),
            ],
            *[("srip", {}), *(("comhe", {"projection": kind, "dimension": 5}) for kind in ("random", "adversarial"))],
        ]
    },
    "uniformity": spec.Uniformity(),
    "koleo": spec.KoLeo(),
    "hug": spec.HUG(),
}
EQUAL = [(12, 30), (9, 12), (12, 30), (12, 30), (9, 12), (12, 30)]
"""The last one, the classifier, is like others and has a loss of its own in full space."""


def test_every_kind_of_term_is_on_the_menu() -> None:
    known = [*vars(terms).values(), *vars(feature_terms).values()]
    assert set(get_args(feature_terms.AnyTerm)) == set(filter(_is_term, known))


def _is_term(kind: object) -> bool:
    shared = (terms.Term, feature_terms.Caught)
    return isinstance(kind, type) and issubclass(kind, terms.Term) and kind not in shared


def penalized(
    chosen: spec.Regularizer, *, stacked: bool, steps: int = 2
) -> tuple[dict[str, Tensor], list[Tensor], dict[str, Tensor], dict[str, str]]:
    """After some steps: the terms by layer, the gradients of their sum, what is kept, and what is skipped."""
    torch.manual_seed(0)
    network = launches.network(EQUAL, "cpu").double().train()
    penalty = regularizers.build(chosen, network)
    features = points(8, 30).requires_grad_()
    network[-1](features)
    with launches.stacking(wanted=stacked):
        for step in range(steps):
            penalty(step, lr=0.1, classes=torch.arange(8)).backward()
        values = penalty.by_layer(steps, lr=0.1, classes=torch.arange(8))
    gradients = [leaf.grad for leaf in (*network.parameters(), features) if leaf.grad is not None]
    return values, gradients, dict(penalty.named_buffers()), penalty.skipped


@pytest.mark.parametrize("name", KINDS)
def test_a_penalty_in_stacks_is_that_of_layer_by_layer_with_all_that_it_keeps(name: str) -> None:
    together, alone = (penalized(KINDS[name], stacked=stacked) for stacked in (True, False))
    rough = 1e-2 if "bf16" in name else 1e-7
    assert list(together[0]) == list(alone[0])
    torch.testing.assert_close(together, alone, rtol=rough, atol=rough)


def test_layers_of_other_weights_are_not_taken_together() -> None:
    chosen = spec.MHE(layer_weights={"0": 3.0, "2": 0.0}, final_weight=0.0)
    together, alone = (penalized(chosen, stacked=stacked) for stacked in (True, False))
    assert list(together[0]) == ["0", "1", "3", "4"]
    torch.testing.assert_close(together, alone)


def test_a_layer_that_cannot_be_spread_is_skipped_in_stacks_as_well() -> None:
    penalty = regularizers.build(spec.MHS(), nn.Sequential(*(nn.Linear(d, n) for d, n in ((4, 1), (4, 5), (4, 5)))))
    with launches.stacking(wanted=True):
        assert list(penalty.by_layer()) == ["1", "2"]
    assert penalty.skipped == {"0": "has a single neuron: there is no pair to spread"}


def test_on_a_cpu_layers_are_computed_one_by_one_and_elsewhere_together() -> None:
    assert [batched.pay(torch.device(kind)) for kind in ("cpu", "cuda", "meta")] == [False, True, True]


# --- what a device is asked for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", launches.KINDS)
def test_stacks_ask_a_device_for_fewer_calls_for_cnn9(name: str) -> None:
    together, single = both_ways(name, launches.CNN9)
    assert together < 0.85 * single  # 8 shapes among 11 layers


@pytest.mark.parametrize("name", ["mhe", "mhs", "mgd", "so", "srip", "mma"])
def test_the_more_layers_are_equal_the_fewer_calls(name: str) -> None:
    together, single = both_ways(name, launches.RESNET18)
    assert together < 0.65 * single  # 12 shapes among 21 layers


def both_ways(name: str, shapes: list[launches.Shape]) -> tuple[int, int]:
    """The calls of a whole penalty in stacks, and layer by layer."""
    chosen = launches.KINDS[name]
    return launches.calls(chosen, shapes), launches.calls(chosen, shapes, stacked=False)


@pytest.mark.parametrize("name", [name for name in launches.KINDS if "authors" not in name])
def test_one_more_layer_of_a_stack_costs_no_more_than_its_way_in_and_out(name: str) -> None:
    few, many = (launches.calls(launches.KINDS[name], [(64, 576)] * count + [(10, 64)]) for count in (2, 12))
    assert many - few <= 3 * 10
