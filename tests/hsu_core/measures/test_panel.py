"""The panel measures what the energies define, and says NaN where there is nothing to measure."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hsu_core import energies, models, spec, sphere
from hsu_core.measures import panel, references
from hsu_core.regularizers.layers import layers


def by_definition(w: Tensor) -> dict[str, float]:
    """Every measure from the reference energies and from plain formulas, in float64."""
    w = w.double()
    x = w / w.norm(dim=1, keepdim=True)
    closest = math.sqrt(energies.separation(w).item())
    cosines = (x @ x.T).fill_diagonal_(0)
    return {
        **{
            f"mhe_{letter}{s}{suffix}": energies.riesz(
                w, float(s), angular=letter == "a", half_space=bool(suffix)
            ).item()
            for letter, s, suffix in itertools.product("sa", (0, 1, 2), ("", "_half"))
        },
        "separation": closest**2,
        "min_angle": math.degrees(2 * math.asin(closest / 2)),
        "resultant_length": energies.resultant(x).item() / len(x),
        "coherence": cosines.abs().max().item(),
        "log_det": energies.gram_determinant(w).item(),
        "effective_rank": _effective_rank(x),
    }


def _effective_rank(x: Tensor) -> float:
    share = torch.linalg.svdvals(x)
    share = share[share > 1e-12] / share.sum()
    return math.exp(-(share * share.log()).sum().item())


def apart_from_the_estimate(measured: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in measured.items() if name != "covering"}


def test_every_measure_of_the_spec_is_measured() -> None:
    assert set(panel.MEASURERS) == set(spec.ALL_MEASURES)


@given(n=st.integers(2, 12), d=st.integers(2, 20), seed=st.integers(0, 2**32 - 1))
def test_the_panel_equals_the_definitions(n: int, d: int, seed: int) -> None:
    w = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    assert apart_from_the_estimate(panel.measure(w)) == pytest.approx(by_definition(w), rel=1e-6)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9])
def test_the_panel_is_right_for_points_that_nearly_coincide(distance: float) -> None:
    w = torch.eye(3, 7, dtype=torch.float64)
    w[1] = w[0] + distance * w[1]
    measured = panel.measure(w)
    assert apart_from_the_estimate(measured) == pytest.approx(by_definition(w), rel=1e-6)
    assert measured["min_angle"] == pytest.approx(math.degrees(math.atan(distance)), rel=1e-9)


def test_step_0_of_cnn9_equals_the_energies_computed_by_hand() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR100.facts, seed=0)
    for layer in layers(network):
        w = network.get_parameter(f"{layer.name}.weight").detach().numpy().astype("float64")
        x = torch.from_numpy(w.reshape(len(w), -1) / ((w**2).reshape(len(w), -1).sum(1, keepdims=True) ** 0.5))
        doubled = torch.cat([x, -x])
        squared = torch.stack([(doubled[i] - doubled[i + 1 :]).square().sum(1).sum() for i in range(len(doubled) - 1)])
        assert squared.sum().item() == pytest.approx(4 * len(x) ** 2, rel=1e-12)  # Σ of squares, as Σ doubled = 0
        energy = torch.cat([1 / (doubled[i] - doubled[i + 1 :]).square().sum(1) for i in range(len(doubled) - 1)])
        assert panel.measure(layer.points())["mhe_s2_half"] == pytest.approx(energy.mean().item(), abs=1e-5)


def test_one_neuron_has_no_pair_but_a_mirror_image() -> None:
    measured = panel.measure(torch.ones(1, 4))
    with_a_value = {name for name, value in measured.items() if not math.isnan(value)}
    of_points = {"resultant_length", "log_det", "effective_rank", "covering"}
    assert with_a_value == of_points | {name for name in measured if name.endswith("_half")}
    assert measured["mhe_s2_half"] == energies.riesz(torch.ones(1, 4), half_space=True).item() == 0.25


def test_weights_that_are_nan_are_measured_as_nan() -> None:
    assert all(math.isnan(value) for value in panel.measure(torch.full((3, 4), torch.nan)).values())


def test_only_what_was_chosen_is_measured() -> None:
    w = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert list(panel.measure(w, ["min_angle", "mhe_a1"])) == ["min_angle", "mhe_a1"]
    assert panel.measure(w, []) == {}


def test_a_row_of_zeros_is_left_out() -> None:
    w = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert panel.measure(torch.cat([w, torch.zeros(2, 4)])) == panel.measure(w)
    assert all(math.isnan(value) for value in panel.measure(torch.zeros(2, 4)).values())


def test_the_covering_is_nearly_the_largest_hole() -> None:
    w = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    largest = sphere.covering_angle(w / w.norm(dim=1, keepdim=True))
    assert 0.9 * largest <= panel.measure(w, ["covering"])["covering"] <= largest + 1e-3


def test_few_points_leave_a_hole_of_at_least_a_right_angle() -> None:
    assert panel.measure(torch.eye(3, 9), ["covering"])["covering"] == pytest.approx(125.264, abs=2)
    both = torch.cat([torch.eye(3, 9), -torch.eye(3, 9)])
    assert panel.measure(both, ["covering"])["covering"] == pytest.approx(90)


def test_the_effective_rank_counts_directions() -> None:
    assert panel.measure(torch.eye(6, 9), ["effective_rank"])["effective_rank"] == pytest.approx(6)
    assert panel.measure(torch.ones(6, 9), ["effective_rank"])["effective_rank"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("n", "d"), [(2, 3), (4, 3), (5, 9), (6, 3), (8, 4), (27, 64)])
def test_the_wasserstein_distance_of_a_simplex_or_a_cross_is_its_optimum(n: int, d: int) -> None:
    if n <= d + 1:  # a simplex: the centred unit vectors, in as many dimensions as there are
        centred = torch.eye(n, dtype=torch.float64) - 1 / n
        x = torch.nn.functional.pad(torch.linalg.qr(centred.T[:, : n - 1]).Q.T @ centred, (0, 0, 0, d - n + 1)).T
    else:
        x = torch.cat([torch.eye(d), -torch.eye(d)]).double()
    found = panel.measure(x, ["wasserstein_uniformity"])["wasserstein_uniformity"]
    of_shape = references.of_shape(n, d, ("wasserstein_uniformity",))["wasserstein_uniformity"]
    assert found == pytest.approx(of_shape.optimum, abs=1e-5)
    assert of_shape.random is not None
    assert of_shape.random > found


def test_five_points_on_a_sphere_are_no_design() -> None:
    of_shape = references.of_shape(5, 3, ("wasserstein_uniformity",))["wasserstein_uniformity"]
    assert (of_shape.optimum, of_shape.bound) == (None, 0)
