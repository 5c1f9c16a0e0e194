"""Does a penalty hold in loops that are not ours: functional parameters, compiled steps, copies, half precision?"""

from __future__ import annotations

import copy

import jaxtyping
import pytest
import torch
from own_models import MOVING, HeadFirst, batch, descend, of_head_first
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import regularizers, spec


def test_functional_parameters_are_followed() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model)
    params = {name: (2 + own.detach()).requires_grad_() for name, own in model.named_parameters()}
    other = HeadFirst()
    other.load_state_dict(params)
    value = penalty(params=params)
    torch.testing.assert_close(value, of_head_first(other))
    value.backward()
    of_head_first(other).backward()
    torch.testing.assert_close(params["head.weight"].grad, other.head.weight.grad, rtol=1e-4, atol=0)
    assert model.head.weight.grad is None
    with pytest.raises(ValueError, match=r"expected names of the model's parameters, found head\.w"):
        penalty(params={"head.w": params["head.weight"]})


def test_class_vectors_are_those_of_the_forward() -> None:
    model, (x, y) = HeadFirst(), batch()
    penalty = regularizers.build(spec.HUG(), model)
    params = {name: (2 + own.detach()).requires_grad_() for name, own in model.named_parameters()}
    torch.func.functional_call(model, params, x)
    with pytest.raises(RuntimeError, match=r"other weights than it holds.*penalty\(step, params=…\)"):
        penalty(classes=y)
    found = torch.autograd.grad(penalty(params=params, classes=y), list(params.values()), materialize_grads=True)
    other = HeadFirst()
    other.load_state_dict(params)
    of_other = regularizers.build(spec.HUG(), other)
    other(x)
    plain = torch.autograd.grad(of_other(classes=y), list(other.parameters()), materialize_grads=True)
    torch.testing.assert_close(found, plain)


def test_a_call_inside_of_a_functional_one_follows_by_itself() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = HeadFirst()
            self.penalty = regularizers.build(spec.MHE(), self.model)

        def forward(self, x: Tensor) -> Tensor:
            loss: Tensor = self.model(x).square().mean() + self.penalty()
            return loss

    both = Both()
    params = {name: (2 + own.detach()).requires_grad_() for name, own in both.named_parameters()}
    gradients = torch.func.grad(lambda given: torch.func.functional_call(both, given, batch()[0]))(params)
    plain = torch.autograd.grad(torch.func.functional_call(both, params, batch()[0]), list(params.values()))
    torch.testing.assert_close(list(gradients.values()), list(plain))
    assert gradients["model.head.weight"].abs().sum() > 0


def test_a_call_that_would_not_follow_is_refused() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model)
    params = {name: own.detach().clone().requires_grad_() for name, own in model.named_parameters()}
    torch.func.functional_call(model, params, batch()[0])
    with pytest.raises(RuntimeError, match=r"other weights than it holds.*penalty\(step, params=…\)"):
        penalty()
    assert penalty(params=dict(model.named_parameters())).isfinite()
    model(batch()[0])
    assert penalty().isfinite()


@pytest.mark.parametrize("chosen", [spec.MHE(), spec.MHP(), spec.SRIP(), *MOVING], ids=lambda chosen: chosen.kind)
def test_a_model_on_meta_is_taken_and_counts_once_it_has_numbers(chosen: spec.Regularizer) -> None:
    with torch.device("meta"):
        model = HeadFirst()
    penalty = regularizers.build(chosen, model)
    assert penalty(0, lr=0.1).device.type == "meta"
    model.to_empty(device="cpu")
    model.load_state_dict(HeadFirst().state_dict())
    plain = regularizers.build(chosen, HeadFirst())
    for step in range(2):
        torch.testing.assert_close(penalty(step, lr=0.1), plain(step, lr=0.1))


@pytest.mark.parametrize(
    "chosen", [spec.MHE(every=2), *MOVING, spec.KoLeo(), spec.HUG()], ids=lambda chosen: chosen.kind
)
def test_a_compiled_step_has_the_values_and_gradients_of_a_plain_one(
    chosen: spec.Regularizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the compiler cannot look into its checks
    x, y = batch()
    models = [HeadFirst(), HeadFirst()]
    penalties = [regularizers.build(chosen, model) for model in models]

    def loss(which: int, step: int, lr: float) -> Tensor:
        return cross_entropy(models[which](x), y) + penalties[which](step, lr=lr, classes=y)

    compiled = torch.compile(lambda step, lr: loss(0, step, lr), fullgraph=True, backend="aot_eager")
    for step in range(12):
        found, plain = compiled(step, 0.1 / (1 + step)), loss(1, step, 0.1 / (1 + step))
        torch.testing.assert_close(found, plain)
        for model, value in zip(models, (found, plain), strict=True):
            model.zero_grad()
            value.backward()
            with torch.no_grad():
                for own in model.parameters():
                    own -= 0.1 * own.grad
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())


def test_a_copy_of_model_and_penalty_goes_its_own_way() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHP(inner=spec.AuthorsPole()), model)
    other, copied = copy.deepcopy((model, penalty))
    descend(other, copied)
    assert copied.by_layer().keys() == penalty.by_layer().keys()
    assert copied.value(9, lr=0.1) != penalty.value(9, lr=0.1)
    assert copied.handle != penalty.handle


def test_half_precision_weights_are_counted_in_float32() -> None:
    model = HeadFirst()
    penalty = regularizers.build(spec.MHE(), model.to(torch.bfloat16))
    torch.testing.assert_close(penalty(), of_head_first(model.float()), rtol=1e-4, atol=0)
    model.to(torch.bfloat16)
    descend(model.float(), penalty)
