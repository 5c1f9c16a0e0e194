"""A penalty is the weighted sum of energies over the layers that a model really has."""

import pytest
import torch
from torch import nn

from hsu_core import baselines, class_gap, energies, models, regularizers, spec
from hsu_core.regularizers import feature_terms, inner_problem, terms
from hsu_core.regularizers.layers import layers

FACTS = spec.Digits.facts


def mlp(*hidden: int) -> nn.Module:
    return models.build(spec.MLP(hidden=hidden), FACTS, seed=0)


@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize("s", [0.0, 1.0, 2.0])
def test_mhe_weighs_hidden_layers_in_half_space_and_the_classifier_in_full_space(s: float, angular: bool) -> None:
    network = mlp(12, 6)
    chosen = spec.MHE(s=s, angular=angular, hidden_weight=0.5, final_weight=3.0)
    w = {layer.name: layer.points() for layer in layers(network)}
    expected = (
        0.5 * energies.riesz(w["hidden1"], s, angular=angular, half_space=True)
        + 0.5 * energies.riesz(w["hidden2"], s, angular=angular, half_space=True)
        + 3 * energies.riesz(w["classifier"], s, angular=angular)
    )
    torch.testing.assert_close(regularizers.build(chosen, network)(), expected)


def test_no_regularizer_is_a_penalty_of_zero() -> None:
    assert regularizers.build(spec.NoRegularizer(), mlp(4))().item() == 0


def test_a_weight_of_zero_leaves_its_layers_out() -> None:
    assert list(regularizers.build(spec.MHE(hidden_weight=0), mlp(4, 5)).by_layer()) == ["classifier"]


def test_the_penalty_holds_no_parameters_of_its_own() -> None:
    penalty = regularizers.build(spec.MHE(), mlp(4))
    assert list(penalty.parameters()) == []


def test_a_layer_that_cannot_be_spread_is_skipped_with_the_reason() -> None:
    penalty = regularizers.build(spec.MHS(), mlp(1, 8))
    assert penalty.skipped == {"hidden1": "has a single neuron: there is no pair to spread"} | {
        "hidden2": "has neurons of a single dimension: there are only two directions"
    }
    assert list(penalty.by_layer()) == ["classifier"]


def test_a_model_of_which_no_layer_can_be_spread_is_refused() -> None:
    with pytest.raises(ValueError, match="mhs finds no layer that it could spread: hidden1 has a single neuron"):
        regularizers.build(spec.MHS(final_weight=0), mlp(1))


@pytest.mark.parametrize("field", ["layers", "layer_weights"])
def test_an_unknown_layer_is_an_error_that_lists_those_there_are(field: str) -> None:
    chosen = spec.MHE.model_validate({field: ["conv*"] if field == "layers" else {"conv*": 2}})
    with pytest.raises(ValueError, match=rf"regularizer.{field}: 'conv\*' matches no layer; there are hidden1, class"):
        regularizers.build(chosen, mlp(4))


def test_layers_are_chosen_and_weighted_by_pattern() -> None:
    network = mlp(8, 8, 8)
    whole = regularizers.build(spec.MHE(), network).by_layer()
    some = regularizers.build(spec.MHE(layers=("hidden*",), layer_weights={"*1": 3, "*3": 0}), network).by_layer()
    assert list(some) == ["hidden1", "hidden2"]
    torch.testing.assert_close(some["hidden1"], 3 * whole["hidden1"])
    torch.testing.assert_close(some["hidden2"], whole["hidden2"])


@pytest.mark.parametrize(
    ("schedule", "weights"),
    [
        (spec.Steady(), [1, 1, 1, 1]),
        (spec.WarmUp(fraction=0.5), [0, 0.5, 1, 1]),
        (spec.Decay(to=0.2), [1, 0.8, 0.6, 0.2]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_the_weight_follows_its_schedule(schedule: spec.WeightSchedule, weights: list[float]) -> None:
    network = mlp(8)
    full = regularizers.build(spec.MHE(), network)().item()
    penalty = regularizers.build(spec.MHE(schedule=schedule), network, total_steps=100)
    assert [penalty(step).item() / full for step in (0, 25, 50, 100)] == pytest.approx(weights)


def test_every_kth_step_acts_k_times_as_strong() -> None:
    penalty = regularizers.build(spec.MHE(every=4), mlp(8))
    assert [penalty.acts(step) for step in range(6)] == [True, False, False, False, True, False]
    assert penalty.every == 4


KINDS: list[spec.Regularizer] = [
    spec.MHE(),
    spec.MHE(s=3.5, angular=True, low_precision=True),
    spec.MHS(),
    spec.MHP(),
    spec.MHP(inner=spec.AuthorsPole()),
    spec.RMHP(),
    spec.MHC(),
    spec.MHC(inner=spec.AuthorsPole()),
    spec.MGD(),
    spec.SO(),
    spec.DSO(),
    spec.MutualCoherence(),
    spec.SRIP(),
    spec.MMA(),
    *(spec.CoMHE(projection=kind, dimension=5) for kind in ("random", "angle", "adversarial")),
    spec.Lloyd(),
    spec.SlicedDispersion(),
    spec.Uniformity(),
    spec.KoLeo(),
    spec.WassersteinUniformity(),
    spec.SlicedGaussian(),
    spec.HUG(),
]


def test_every_kind_of_the_spec_is_tested_here() -> None:
    kinds = set(spec.kinds(spec.Regularizer))
    assert {chosen.kind for chosen in KINDS} | {"none"} == kinds


@pytest.mark.parametrize("chosen", KINDS, ids=lambda chosen: chosen.kind)
def test_a_step_against_the_gradient_lowers_the_penalty(chosen: spec.Regularizer) -> None:
    network = mlp(12, 6).train()
    penalty = regularizers.build(chosen, network)
    images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def value() -> torch.Tensor:
        network(images)
        return penalty(1, lr=0.1, classes=torch.arange(32) % 10)

    before = value()
    before.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    assert value() < before  # of the same step, so that what is kept stays where it is


@pytest.mark.parametrize("chosen", KINDS, ids=lambda chosen: chosen.kind)
def test_the_penalty_of_a_step_depends_on_seed_and_step_alone(chosen: spec.Regularizer) -> None:
    def value(*, seed: int) -> float:
        network = mlp(12, 6).train()
        penalty = regularizers.build(chosen, network, seed=seed)
        network(torch.ones(4, 1, 8, 8) * torch.arange(4)[:, None, None, None])
        torch.rand(1)  # the global generator moves on
        return penalty(3, lr=0.1, classes=torch.arange(4)).item()

    assert value(seed=1) == value(seed=1)


def without_numbers(chosen: spec.Regularizer, network: nn.Module, *, features: int) -> regularizers.Penalty:
    """The penalty on `meta`, where a tensor has a shape and no numbers: to look at one is an error."""
    penalty = regularizers.build(chosen, network.to("meta"))
    for term in penalty.terms:
        term.generator = lambda *_: torch.Generator()
        if isinstance(term, feature_terms.Caught):
            term.features = torch.empty(16, features, device="meta", requires_grad=True)
    return penalty


@pytest.mark.parametrize("hidden", [(40, 30), (64, 64, 64)], ids=["each alone", "in stacks"])
@pytest.mark.parametrize("chosen", KINDS, ids=lambda chosen: chosen.kind)
def test_away_from_a_cpu_nothing_makes_the_host_wait_for_a_number(
    chosen: spec.Regularizer, hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    penalty = without_numbers(chosen, mlp(*hidden), features=hidden[-1])
    monkeypatch.setattr(inner_problem, "drawn", lambda count, *, like, **_: like.new_empty(count, like.shape[1]))
    monkeypatch.setattr(terms, "gaussian", lambda *shape, count, like, **_: like.new_empty(count, *shape))
    value = penalty(3, lr=0.1, classes=torch.empty(16, dtype=torch.int64, device="meta"))
    value.backward()
    assert (value.shape, value.device) == ((), torch.device("meta"))
    with pytest.raises(RuntimeError, match="meta"):
        value.item()


@pytest.mark.parametrize("kind", [spec.MHP, spec.MHC])
@pytest.mark.parametrize("inner", [spec.FreshPoles(), spec.AuthorsPole()])
def test_the_inner_gap_is_recorded_and_never_negative(kind: type[spec.MHP | spec.MHC], inner: spec.Inner) -> None:
    penalty = regularizers.build(kind(inner=inner), mlp(12, 6))
    gaps = penalty.inner_gaps()
    assert list(gaps) == ["hidden1", "hidden2", "classifier"]
    assert all(gap >= 0 for gap in gaps.values())


def test_only_poles_have_an_inner_gap() -> None:
    assert regularizers.build(spec.MHE(), mlp(4)).inner_gaps() == {}


def test_a_penalty_on_features_needs_a_batch() -> None:
    with pytest.raises(RuntimeError, match="call the model first"):
        regularizers.build(spec.KoLeo(), mlp(4))()


def test_a_penalty_on_classes_needs_those_of_the_batch() -> None:
    network = mlp(4).train()
    penalty = regularizers.build(spec.HUG(), network)
    assert penalty.needs_classes
    network(torch.ones(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"expected penalty\(step, classes=…\)"):
        penalty()
    assert not regularizers.build(spec.KoLeo(), network).needs_classes


def test_a_penalty_on_classes_moves_features_and_class_vectors() -> None:
    network = mlp(8).train()
    penalty = regularizers.build(spec.HUG(weight=0.5, within=3.0), network)
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network(images)
    features = network.get_submodule("hidden1")(images.flatten(1)).relu()
    vectors, known = network.get_submodule("classifier").weight, torch.tensor([3, 1, 9])
    assert isinstance(vectors, nn.Parameter)
    rows = torch.tensor([0, 15, 7])
    found = penalty(classes=regularizers.Classes(known, rows))
    expected = class_gap.uniformity_gap(vectors, features[rows], vectors[known], within=3.0)
    torch.testing.assert_close(found, 0.5 * expected)
    torch.testing.assert_close(penalty.by_layer(classes=regularizers.Classes(known, rows))["classifier"], found)
    parameters = list(network.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(found, parameters, materialize_grads=True),
        torch.autograd.grad(0.5 * expected, parameters, materialize_grads=True),
    )


def test_a_penalty_on_features_sees_what_enters_the_classifier() -> None:
    network = mlp(8).train()
    penalty = regularizers.build(spec.Uniformity(weight=0.5, t=3.0), network)
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    network(images)
    features = network.get_submodule("hidden1")(images.flatten(1)).relu()
    torch.testing.assert_close(penalty(), 0.5 * baselines.uniformity(features, t=3.0))
