"""The preset `authors` of each regularizer is what the authors' program returned, and a spec that is kept says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from benchmarks import authors as reference
from hsu_core import energies, models, regularizers, spec
from hsu_core.regularizers.inner_problem import PersistentPole
from hsu_core.regularizers.projections import KeptProjection

SHAPES = {"A_3x3x3x8": (27, 8), "B_overcomplete_1x1x3x8": (3, 8)}
RATE = 0.1


def pattern(count: int, *, offset: int = 0) -> Tensor:
    i = torch.arange(count, dtype=torch.float64) + offset
    return torch.sin(0.7 * i + 0.013 * i.square()).float()


def asked(entry: str) -> dict[str, Any]:
    """The spec of an entry, by its preset alone: no weight, no pole, no quirk is stated."""
    kind, place, _ = entry.split("/")
    half = {"half_space": kind.startswith("half") or place == "first"}
    if kind.startswith("comhe"):
        return {"kind": "comhe", "projection": kind.split("_")[1], "dimension": 5}
    if "mhe" in kind:
        power = kind.rsplit("_", 1)[1]
        return {"kind": "mhe", "s": int(power.lstrip("a")), "angular": power.startswith("a"), **half}
    return {"kind": "rmhp"} if kind == "r_mhp" else {"kind": kind, **half}


def built(entry: str) -> tuple[regularizers.Penalty, nn.Linear]:
    """The preset on a layer of the reference's filters, hidden or the classifier as there."""
    d, n = SHAPES[entry.rsplit("/", 1)[1]]
    layer = nn.Linear(d, n, bias=False)
    layer.weight.data = pattern(d * n).reshape(d, n).T.clone()
    regularizer = spec.ClassificationSpec.model_validate(
        {
            "dataset": {"kind": "digits"},
            "model": {"kind": "mlp"},
            "duration": {"steps": 1},
            "regularizer": {**asked(entry), "preset": "authors", "layers": ["0"]},
        }
    ).regularizer
    further = () if entry.split("/")[1] == "final" else (nn.Linear(n, 2),)
    penalty = regularizers.build(regularizer, nn.Sequential(layer, *further))
    for part in penalty.modules():
        if isinstance(part, PersistentPole):
            part.pole = pattern(d, offset=1000)[None]
        if isinstance(part, KeptProjection):
            part.matrix = pattern(5 * d, offset=1000).reshape(5, d).T.clone()
    return penalty, layer


@pytest.mark.parametrize("entry", reference.ENTRIES)
def test_a_preset_is_the_authors_value_and_gradient(entry: str) -> None:
    penalty, layer = built(entry)
    value = penalty.by_layer(1, lr=RATE)["0"]
    (gradient,) = torch.autograd.grad(value, layer.weight)
    sign = -1 if entry.startswith("mhp") else 1  # theirs is the mean, which the network raises
    assert (sign * value.item(), gradient.norm().item()) == pytest.approx(reference.expected(entry)[:2], rel=1e-4)


@pytest.mark.parametrize("entry", [name for name in reference.ENTRIES if name.startswith(("mhp", "mhc"))])
def test_a_pole_feels_the_force_that_the_authors_felt(entry: str) -> None:
    penalty, layer = built(entry)
    (term, *_) = penalty.terms
    pole = term.kept.pole.clone().requires_grad_()
    weighted = penalty.weights[0] * term.objective(layer.weight.detach(), pole)
    (force,) = torch.autograd.grad(weighted.sum(), pole)
    assert force.norm().item() == pytest.approx(reference.expected(entry)[2], rel=1e-4)
    how = term.inner
    assert (how.kind, how.steps, how.lr, how.momentum, how.weight_decay) == ("authors", 10, None, 0.9, 5e-4)


def test_comhe_leaves_the_classifier_as_it_is_and_takes_the_authors_settings() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR100.facts, seed=0)
    w = network.classifier.weight
    for chosen in (spec.CoMHE(), spec.CoMHE(preset="authors")):
        found = regularizers.build(chosen, network).by_layer()["classifier"]
        torch.testing.assert_close(found, 10 * energies.riesz(w), rtol=1e-3, atol=0)
    assert found.item() == pytest.approx(5.03, abs=0.02)  # 5.0269 in the authors' log at step 0
    as_before = spec.CoMHE(project_classifier=True, dimension=40)
    assert regularizers.build(as_before, network).by_layer()["classifier"].item() == pytest.approx(5.169, abs=0.02)
    random, angle, adversarial = (
        spec.CoMHE.model_validate({"preset": "authors", "projection": kind})
        for kind in ("random", "angle", "adversarial")
    )
    assert (random.dimension, random.projections, random.hidden_weight, random.final_weight) == (40, 20, 1, 10)
    assert [(kept.dimension, kept.steps, kept.lr) for kept in (angle, adversarial)] == [(30, 1, None), (30, 10, None)]


def test_hidden_layers_of_comhe_have_the_energy_of_the_authors_log() -> None:
    network = models.build(spec.CNN9(), spec.CIFAR100.facts, seed=0)
    found = regularizers.build(spec.CoMHE(preset="authors"), network).by_layer()
    hidden = sum(value.item() for name, value in found.items() if name != "classifier")
    assert hidden == pytest.approx(5.131, abs=0.01)


def test_a_kept_projection_without_a_rate_needs_the_networks() -> None:
    network = models.build(spec.MLP(), spec.Digits.facts, seed=0)
    penalty = regularizers.build(spec.CoMHE(preset="authors", projection="angle"), network)
    with pytest.raises(ValueError, match=r"expected penalty\(step, lr=…\)"):
        penalty(0)
    before = [buffer.clone() for buffer in penalty.buffers()]
    penalty(0, lr=RATE).backward()
    assert not any(map(torch.equal, before, penalty.buffers()))


KINDS = [kind for kind in spec.members(spec.Regularizer) if kind is not spec.NoRegularizer]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].default)
def test_a_preset_is_kept_as_the_values_that_it_stands_for(kind: type[spec.Penalty]) -> None:
    filled = kind.model_validate({"preset": "authors"})
    kept = filled.model_dump(mode="json")
    assert "preset" not in kept
    assert kind.model_validate(kept) == filled
    assert kind.model_validate_json(json.dumps(kept)).model_dump() == filled.model_dump()
    assert kind.about.differs
    with pytest.raises(ValidationError, match="preset"):
        kind.model_validate({"preset": "nobody"})


def test_what_is_given_counts_more_than_a_preset() -> None:
    chosen = spec.MHE(preset="authors", s=1, angular=True, hidden_weight=7)
    assert (chosen.hidden_weight, chosen.final_weight, chosen.arithmetic) == (7, 1, "authors")
    assert spec.MHE(preset="authors", s=0).hidden_weight == 1
    with pytest.raises(ValidationError, match="in float32"):
        spec.MHE(preset="authors", low_precision=True)


def test_specs_from_before_the_presets_mean_what_they_meant_and_are_written_as_they_were() -> None:
    """As version 0008 of the database holds them."""
    of_mhe = {
        "schedule": {"kind": "steady"}, "every": 1, "hidden_weight": 1.0, "final_weight": 10.0, "layers": ["*"],
        "layer_weights": {}, "half_space": True, "low_precision": False, "kind": "mhe", "s": 2.0, "angular": False,
    }  # fmt: skip
    of_comhe = of_mhe | {
        "kind": "comhe", "final_weight": 1.0, "projection": "random", "dimension": 30, "projections": 20, "steps": 1,
        "lr": 0.01,
    }  # fmt: skip
    mhe, comhe = spec.MHE.model_validate(of_mhe), spec.CoMHE.model_validate(of_comhe)
    assert mhe.model_dump(mode="json") == of_mhe
    assert comhe.model_dump(mode="json") == of_comhe
    assert comhe.project_classifier
    assert mhe == spec.MHE()
    assert not spec.CoMHE().project_classifier
    assert spec.CoMHE.model_validate(spec.CoMHE().model_dump(mode="json")) == spec.CoMHE()
