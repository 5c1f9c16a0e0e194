"""Measures of features against their formulas, and at points where the value is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hsu_core import spec
from hsu_core.evaluations import collapse, features
from hsu_core.evaluations.passes import Seen

NEURAL_COLLAPSE = ("nc1", "nc2_norms", "nc2_angles", "nc3", "nc4")


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator), torch.arange(40) % 4


def pairs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The squared distances of all pairs of normalised rows, one by one."""
    x = x.double() / x.double().norm(dim=1, keepdim=True)
    i, j = torch.triu_indices(len(x), len(x), offset=1)
    return (x[i] - x[j]).square().sum(dim=1), i, j


def test_alignment_is_the_mean_squared_distance_within_classes(drawn: tuple[Tensor, Tensor]) -> None:
    x, classes = drawn
    squared, i, j = pairs(x)
    expected = squared[classes[i] == classes[j]].mean()
    assert features.alignment(x, classes).item() == pytest.approx(expected.item(), rel=1e-12)
    assert features.alignment(x[:4][classes], classes).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("block", [1, 7 * 40, features.BLOCK])
def test_uniformity_is_that_of_the_formula_whatever_the_blocks(
    drawn: tuple[Tensor, Tensor], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK", block)
    squared, _, _ = pairs(drawn[0])
    expected = torch.exp(-2 * squared).mean().log()
    assert features.uniformity(drawn[0]).item() == pytest.approx(expected.item(), rel=1e-12)


def test_uniformity_of_two_opposite_and_of_two_equal_points_is_known() -> None:
    assert features.uniformity(torch.tensor([[3.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(-8)
    assert features.uniformity(torch.tensor([[3.0, 1.0], [6.0, 2.0]])).item() == pytest.approx(0, abs=1e-12)


def test_the_effective_rank_of_orthonormal_features_is_their_number() -> None:
    basis, _ = torch.linalg.qr(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).double())
    assert features.effective_rank(basis).item() == pytest.approx(8, rel=1e-4)
    assert features.effective_rank(7 * basis.T).item() == pytest.approx(8, rel=1e-4)
    assert features.effective_rank(basis[:, :1] @ torch.ones(1, 8).double()).item() == pytest.approx(1, rel=1e-4)


def test_the_effective_rank_is_that_of_the_singular_values() -> None:
    values = torch.tensor([4.0, 2.0, 1.0, 1.0]).double()
    shares = values / 8
    expected = math.exp(-sum(p * math.log(p) for p in shares.tolist()))
    assert features.effective_rank(torch.diag(values)).item() == pytest.approx(expected, rel=1e-5)


def collapsed(classes: int = 4, d: int = 6) -> tuple[Seen, Tensor]:
    """Features at the corners of a simplex around some point, and a classifier of the same corners."""
    corners = torch.eye(classes).double() - 1 / classes
    corners = (
        corners @ torch.linalg.qr(torch.randn(d, classes, generator=torch.Generator().manual_seed(1)).double())[0].T
    )
    own = torch.arange(20) % classes
    x = 3 * corners + torch.arange(d)
    return Seen(x[own].float(), (corners @ corners.T)[own].float(), own), 5 * corners.float()


def test_every_measure_of_neural_collapse_is_0_at_full_collapse() -> None:
    assert collapse.measure(*collapsed()) == pytest.approx(dict.fromkeys(NEURAL_COLLAPSE, 0.0), abs=1e-6)


def test_each_measure_of_neural_collapse_tells_its_own_part() -> None:
    found, weight = collapsed()
    scattered = found._replace(features=found.features + torch.randn(20, 6, generator=torch.Generator().manual_seed(2)))
    assert collapse.measure(scattered, weight)["nc1"] > 0.01
    turned = collapse.measure(found, -weight)
    assert turned["nc3"] == pytest.approx(4, rel=1e-5)  # two opposite matrices of norm 1
    others = collapse.measure(found._replace(logits=-found.logits), weight)
    assert others["nc4"] == 1
    stretched = collapse.measure(found._replace(features=found.features * torch.tensor([3.0, 1, 1, 1, 1, 1])), weight)
    assert stretched["nc2_norms"] > 0.01
    assert stretched["nc2_angles"] > 0.01


def test_variability_is_the_trace_of_the_paper(drawn: tuple[Tensor, Tensor]) -> None:
    x, classes = drawn[0].double(), drawn[1]
    means = torch.stack([x[classes == c].mean(dim=0) for c in range(4)])
    within = x - means[classes]
    centred = means - means.mean(dim=0)
    scatter, between = within.T @ within / len(x), centred.T @ centred / 4
    expected = torch.trace(scatter @ torch.linalg.pinv(between, hermitian=True, rtol=1e-9)) / 4
    found = collapse.measure(Seen(drawn[0], torch.zeros(40, 4), classes), torch.ones(4, 6))
    assert found["nc1"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_class_without_examples_does_not_count() -> None:
    found, weight = collapsed()
    shifted = found._replace(
        classes=found.classes + 1, logits=torch.cat([found.logits[:, :1] - 9, found.logits], dim=1)
    )
    measured = collapse.measure(shifted, torch.cat([torch.ones(1, 6), weight]))
    assert measured == pytest.approx(dict.fromkeys(NEURAL_COLLAPSE, 0.0), abs=1e-6)
    one = collapse.measure(found._replace(classes=0 * found.classes), weight)
    assert all(map(math.isnan, one.values()))


def test_a_linear_probe_finds_classes_that_a_plane_separates_and_no_others(drawn: tuple[Tensor, Tensor]) -> None:
    x, _ = drawn
    separable = Seen(x, torch.zeros(40, 2), (x[:, 0] > 0).long())
    assert features.linear_probe(separable, separable) == 1
    exclusive = (x[:, 0] > 0) ^ (x[:, 1] > 0)
    assert features.linear_probe(Seen(x, torch.zeros(40, 2), exclusive.long()), separable) < 1


def test_what_is_measured_is_what_is_asked_for_of_the_part_that_is_asked_for(drawn: tuple[Tensor, Tensor]) -> None:
    parts = {"train": Seen(drawn[0], torch.zeros(40, 4), drawn[1]), "test": collapsed()[0]}
    weight = collapsed()[1]
    one = spec.Features(measures=("uniformity", "effective_rank"))
    assert set(features.measure(one, parts, weight)) == {"uniformity", "effective_rank"}
    train = features.measure(spec.Features(measures=("uniformity",), of="train"), parts, weight)
    assert train == {"uniformity": features.uniformity(drawn[0]).item()}
    assert set(features.measure(spec.Features(), parts, weight)) == {
        *("alignment", "uniformity", "effective_rank", "linear_probe_accuracy"),
        *NEURAL_COLLAPSE,
    }
