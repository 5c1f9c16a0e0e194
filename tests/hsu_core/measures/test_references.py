"""References: what random points have on average, and what no points surpass."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hsu_core.measures import panel, references
from hsu_core.measures.optima import best_known
from hsu_core.outcomes import Reference
from hsu_core.spec import MEASURES, Measure
from hsu_core.spec.objectives import Separation

HIGHER_IS_BETTER = {"separation", "min_angle", "log_det", "effective_rank"}


def of_shape(n: int, d: int) -> dict[Measure, Reference]:
    return dict(references.of_shape(n, d, MEASURES))


def random_points(n: int, d: int, *, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(n: int, d: int) -> Tensor:
    """n ≤ d + 1 points at equal distances around the origin."""
    centred = torch.eye(n, dtype=torch.float64) - 1 / n
    axes = torch.linalg.svd(centred)[2][: n - 1]
    return torch.nn.functional.pad(centred @ axes.T, (0, d - n + 1))


def surplus(w: Tensor) -> dict[Measure, float]:
    """How much better each measure is than its proven optimum, where there is one."""
    found = of_shape(*w.shape)
    return {
        name: (value - optimum) * (1 if name in HIGHER_IS_BETTER else -1)
        for name, value in panel.measure(w).items()
        if (optimum := found[name].optimum) is not None
    }


# --- random points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [3, 4, 5, 9, 64, 576, 4608, 100_000])
def test_the_expected_energy_of_a_pair_is_the_closed_form(d: int) -> None:
    """E‖x − y‖⁻ˢ = 2^(d−2−s) Γ(d/2) Γ((d−1−s)/2) / (√π Γ(d−1−s/2))."""
    found = of_shape_of_energies(d)
    for s in (1, 2):
        if s < d - 1:
            logarithm = (d - 2 - s) * math.log(2) - math.log(math.pi) / 2
            logarithm += math.lgamma(d / 2) + math.lgamma((d - 1 - s) / 2) - math.lgamma(d - 1 - s / 2)
            assert found[f"mhe_s{s}"] == pytest.approx(math.exp(logarithm), rel=1e-8)


def of_shape_of_energies(d: int) -> dict[str, float | None]:
    found = references.of_shape(7, d, tuple(references.RIESZ))
    return {name: reference.random for name, reference in found.items()}


def test_the_expected_logarithmic_and_angular_energies_are_the_closed_forms() -> None:
    circle, sphere = of_shape_of_energies(2), of_shape_of_energies(3)
    assert circle["mhe_s0"] == pytest.approx(0, abs=1e-10)
    assert circle["mhe_a0"] == pytest.approx(1)  # the angle is uniform: −∫ ln t over [0, 1]
    assert sphere["mhe_s0"] == pytest.approx(1 / 2 - math.log(2))
    sine_integral = 1.851937051982466  # ∫ sin t / t over [0, π]
    assert sphere["mhe_a1"] == pytest.approx(math.pi / 2 * sine_integral)


def test_in_half_space_one_of_the_others_is_the_mirror_image() -> None:
    found = of_shape_of_energies(5)
    for plain, half, antipodal in (("mhe_s2", "mhe_s2_half", 1 / 4), ("mhe_a1", "mhe_a1_half", 1.0)):
        assert found[half] == pytest.approx((12 * (found[plain] or 0) + antipodal) / 13)


@pytest.mark.parametrize(("n", "d"), [(8, 9), (10, 64), (64, 27), (30, 4), (64, 576)])
def test_random_points_have_it_on_average(n: int, d: int) -> None:
    draws = 100
    panels = [panel.measure(random_points(n, d, seed=1000 + k)) for k in range(draws)]
    for name, reference in of_shape(n, d).items():
        values = torch.tensor([measured[name] for measured in panels])
        noise = math.sqrt(1 / draws + (0 if name in references.RIESZ else 1 / references.FEWEST_DRAWS))
        assert abs(values.mean().item() - reference.random) < 5 * noise * values.std().item(), name


@pytest.mark.parametrize(("n", "d"), [(20, 2), (20, 3)])
def test_where_the_expected_energy_is_infinite_it_is_a_typical_one(n: int, d: int) -> None:
    values = sorted(panel.measure(random_points(n, d, seed=k))["mhe_s2"] for k in range(200))
    found = of_shape(n, d)["mhe_s2"].random
    assert found is not None
    assert values[40] < found < values[160]


def test_a_shape_has_the_same_references_in_every_run_and_moves_no_global_generator() -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), of_shape(6, 5)
    references.of_shape.cache_clear()
    torch.manual_seed(2)
    assert of_shape(6, 5) == first
    torch.manual_seed(1)
    of_shape(6, 7)
    assert torch.equal(before, torch.get_rng_state())


def test_a_reference_does_not_depend_on_what_else_is_recorded() -> None:
    everything = of_shape(12, 10)
    for chosen in (("covering",), ("log_det", "mhe_s2"), ("separation",)):
        assert references.of_shape(12, 10, chosen) == {name: everything[name] for name in chosen}


def test_what_has_no_value_has_no_reference() -> None:
    alone, line = of_shape(1, 4), of_shape(5, 1)
    assert alone["mhe_s2"] == alone["coherence"] == line["mhe_s2"] == Reference(None, None)
    assert alone["mhe_s2_half"].random == pytest.approx(1 / 4)
    assert line["coherence"].random == 1
    assert references.of_shape(5, 4, ()) == {}


@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (4, 3), (40, 2), (300, 3), (3, 3000)])
def test_every_measure_of_every_shape_has_references_that_are_finite_or_none(n: int, d: int) -> None:
    found = of_shape(n, d)
    assert tuple(found) == MEASURES
    assert all(value is None or math.isfinite(value) for reference in found.values() for value in reference[:3])


# --- the best points --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(2, 2), (3, 2), (4, 3), (5, 9), (10, 9), (10, 64)])
def test_a_simplex_is_at_the_optimum(n: int, d: int) -> None:
    reached = surplus(simplex(n, d))
    chosen = ["mhe_s0", "mhe_s1", "mhe_s2", "separation", "min_angle", "log_det", "resultant_length"]
    assert [reached[name] for name in chosen] == pytest.approx([0] * len(chosen), abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(2, 2), (3, 5), (9, 9), (10, 64)])
def test_orthonormal_rows_are_at_the_optimum_in_half_space(n: int, d: int) -> None:
    reached = surplus(torch.linalg.qr(random_points(d, n, seed=0))[0].T)
    chosen = [*(name for name in references.RIESZ if name.endswith("_half")), "coherence", "effective_rank"]
    assert [reached[name] for name in chosen] == pytest.approx([0] * len(chosen), abs=1e-9)


def test_the_six_diagonals_of_an_icosahedron_are_at_the_optimum() -> None:
    golden = (1 + math.sqrt(5)) / 2
    rows = [[0, 1, golden], [0, -1, golden], [1, golden, 0], [-1, golden, 0], [golden, 0, 1], [golden, 0, -1]]
    reached = surplus(torch.tensor(rows, dtype=torch.float64))
    for name in ("coherence", "mhe_s0_half", "mhe_s1_half", "mhe_s2_half", "effective_rank"):
        assert reached[name] == pytest.approx(0, abs=1e-9), name


def test_the_covering_is_told_in_degrees() -> None:
    assert of_shape(4, 3)["covering"].optimum == pytest.approx(math.degrees(math.acos(1 / 3)))
    assert surplus(simplex(4, 3))["covering"] == pytest.approx(0, abs=1)  # 16 poles look for the hole


@given(n=st.integers(2, 14), d=st.integers(2, 10), seed=st.integers(0, 2**32 - 1))
def test_nothing_is_better_than_a_proven_optimum(n: int, d: int, seed: int) -> None:
    above = surplus(random_points(n, d, seed=seed))
    assert above.pop("covering", 0.0) <= (1e-9 if n < d else 5)  # from n = d on it is an estimate from below
    assert max(above.values()) <= 1e-9


def test_no_coherence_is_below_welchs_bound() -> None:
    for d, n in itertools.product(range(2, 25), range(2, 300)):
        if best := best_known(Separation(), n, d, half_space=True):
            assert 1 - best.value / 2 >= math.sqrt(max(0, n - d) / (d * (n - 1))) - 1e-9, (n, d)
