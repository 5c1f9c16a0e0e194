"""Which weights does a penalty read at each call, when others take their place or they are made of others?"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from own_models import D, HeadFirst, batch, descend, of_head_first
from torch import nn
from torch.nn.utils import parametrizations, prune

from hsu_core import regularizers, spec
from hsu_core.regularizers.layers import layers


def reparametrize(how: Callable[[nn.Module], object]) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        for layer in layers(model):
            how(layer.module)

    return change


MADE_OF_OTHERS: dict[str, Callable[[nn.Module], None]] = {
    "weight_norm": reparametrize(parametrizations.weight_norm),
    "orthogonal": reparametrize(parametrizations.orthogonal),
    "spectral_norm": reparametrize(parametrizations.spectral_norm),
    "prune": reparametrize(lambda module: prune.random_unstructured(module, "weight", amount=0.3)),
    "prune twice": reparametrize(
        lambda module: [prune.l1_unstructured(module, "weight", amount=0.2) for _ in range(2)],
    ),
}


@pytest.mark.parametrize("when", ["before build", "after build"])
@pytest.mark.parametrize("how", MADE_OF_OTHERS)
def test_a_weight_that_is_made_of_others_is_made_anew_at_each_call(how: str, when: str) -> None:
    model = HeadFirst()
    if when == "before build":
        MADE_OF_OTHERS[how](model)
    penalty = regularizers.build(spec.MHE(), model)
    if when == "after build":
        MADE_OF_OTHERS[how](model)
    before = penalty().item()
    descend(model, penalty)
    after = penalty().item()
    model(batch()[0])  # what hooks keep is then as new as it gets
    model.eval()
    assert after == pytest.approx(of_head_first(model).item(), rel=1e-5)
    if how != "orthogonal":  # whose energy is the best one, wherever it turns
        assert after != before


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("how", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_so_is_one_that_older_hooks_make_before_a_forward_only(how: Callable[[nn.Module], nn.Module]) -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model)
    reparametrize(how)(model)
    descend(model, penalty)
    for _ in range(2):
        penalty().backward()  # without a forward in between


def test_reading_moves_nothing_that_a_parametrization_keeps() -> None:
    model = HeadFirst()
    MADE_OF_OTHERS["spectral_norm"](model)
    penalty = regularizers.build(spec.MHE(), model)
    before = copy.deepcopy(model.state_dict())
    penalty()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(module.training for module in model.modules())


def load_other_weights(model: nn.Module) -> None:
    torch.manual_seed(7)
    model.load_state_dict({name: torch.randn_like(own) for name, own in model.state_dict().items()}, assign=True)


def replace_a_parameter(model: nn.Module) -> None:
    torch.manual_seed(7)
    model.get_submodule("body.0").weight = nn.Parameter(torch.randn(9, D))


def replace_a_layer(model: nn.Module) -> None:
    torch.manual_seed(7)
    model.head = nn.Linear(8, 3)


@pytest.mark.parametrize("change", [load_other_weights, replace_a_parameter, replace_a_layer])
def test_what_takes_the_place_of_a_weight_is_what_counts(change: Callable[[nn.Module], None]) -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model)
    old = penalty().item()
    model(batch()[0])
    change(model)
    assert penalty().item() == pytest.approx(of_head_first(model).item(), rel=1e-5)
    assert penalty().item() != pytest.approx(old, rel=1e-3)


def test_a_layer_that_became_something_else_is_an_error_that_names_it() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model)
    model.body[2] = nn.Identity()
    with pytest.raises(RuntimeError, match=r"body\.2: expected a layer with weight, .* found Identity"):
        penalty()


def test_features_are_caught_where_a_new_classifier_stands() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.Uniformity(), model)
    model(batch()[0])
    penalty()
    model.head = nn.Linear(8, 3)
    with pytest.raises(RuntimeError, match="call the model first"):
        penalty()
    model(2 * batch()[0])
    assert penalty().requires_grad
