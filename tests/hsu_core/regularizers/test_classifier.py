"""Which layer of a model that is not ours is its classifier?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from own_models import CLASSES, D, HeadFirst, batch, of_head_first, square
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from hsu_core import energies, regularizers, spec
from hsu_core.regularizers.layers import layers


class Called(nn.Module):
    """Layers that a function puts together."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.together = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor, return_features: bool = False) -> Any:
        result = self.together(self, x)
        return (result, x) if return_features else result


def finals(model: nn.Module) -> list[str]:
    return [layer.name for layer in layers(model) if layer.is_final]


FLOWS: dict[str, tuple[nn.Module, list[str]]] = {
    "head first": (HeadFirst(), ["head"]),
    "in a sequence": (nn.Sequential(square(), nn.ReLU(), square()), ["2"]),
    "residual": (Called(lambda m, x: m.head(m.b(x) + x), head=square(), b=square()), ["head"]),
    "added to the output": (Called(lambda m, x: (h := m.b(x)) + m.head(h), head=square(), b=square()), ["head"]),
    "beside its features": (
        Called(lambda m, x: {"y": m.head(h := m.b(x)), "h": h}, head=square(), b=square()),
        ["head"],
    ),
    "by hand": (Called(lambda m, x: linear(m.b(x), m.head.weight), head=square(), b=square()), ["head"]),
    "by cosines": (
        Called(lambda m, x: linear(normalize(m.b(x)), normalize(m.head.weight)), head=square(), b=square()),
        ["head"],
    ),
    "transposed": (Called(lambda m, x: m.b(x) @ m.head.weight.T, head=square(), b=square()), ["head"]),
    "by distances": (Called(lambda m, x: -torch.cdist(m.b(x), m.head.weight), head=square(), b=square()), ["head"]),
    "of one layer": (square(), [""]),
    "one layer before others' weights": (
        Called(lambda m, x: m.two(m.b(x), x), two=nn.Bilinear(D, D, 3), b=square()),
        [],
    ),
    "normalized and scaled": (
        Called(lambda m, x: 5 * m.norm(m.head(m.b(x))).softmax(dim=1), head=square(), norm=nn.LayerNorm(D), b=square()),
        ["head"],
    ),
    "two heads": (Called(lambda m, x: (m.a(m.b(x)), m.c(m.b(x))), a=square(), c=square(), b=square()), ["a", "c"]),
    "recurrent body": (
        Called(lambda m, x: m.head(m.rnn(x)[0]), head=square(), rnn=nn.GRU(D, D), b=square()),
        ["head"],
    ),
    "a transposed convolution": (
        Called(lambda m, x: m.up(m.b(m.a(x))[:, :, None]), up=nn.ConvTranspose1d(D, 3, 2), a=square(), b=square()),
        ["up"],
    ),
    "attention at the end": (
        Called(lambda m, x: m.look(m.b(x), m.b(x), m.b(x))[0], look=nn.MultiheadAttention(D, 2), b=square()),
        ["look.out_proj"],
    ),
    "no layer at the end": (
        Called(lambda m, x: m.two(m.b(m.a(x)), x), two=nn.Bilinear(D, D, 3), a=square(), b=square()),
        [],
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_classifier_is_where_the_outputs_come_out(name: str) -> None:
    model, names = FLOWS[name]
    assert finals(model) == names


@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda model: torch.compile(model, backend="eager"), "_orig_mod"),
        (nn.DataParallel, "module"),
        (torch.optim.swa_utils.AveragedModel, "module"),
    ],
)
def test_a_model_that_is_wrapped_is_followed_inside(wrap: Callable[[nn.Module], nn.Module], place: str) -> None:
    assert finals(wrap(HeadFirst())) == [f"{place}.head"]
    assert finals(wrap(nn.Linear(D, 3))) == [place]


def test_following_the_flow_leaves_no_trace_in_the_model() -> None:
    class Counting(HeadFirst):
        calls = 0
        kept: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.kept = x
            return super().forward(x + torch.rand(1))

    model = Counting()
    state = torch.get_rng_state()
    assert finals(model) == ["head"]
    assert (model.calls, model.kept) == (0, None)
    assert torch.equal(torch.get_rng_state(), state)


def branching(model: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = model.head(model.b(x)) if x.sum() > 0 else model.head(x)
    return result


def test_where_the_flow_cannot_be_followed_the_classifier_has_to_be_named() -> None:
    model = Called(branching, head=nn.Linear(D, CLASSES), b=square())
    for chosen in (spec.MHE(), spec.Uniformity(), spec.SO()):
        with pytest.raises(ValueError, match=r"cannot tell which layer is the classifier.*final=….*one of head, b"):
            regularizers.build(chosen, model)
    named = regularizers.build(spec.MHE(), model, final="head").by_layer()
    torch.testing.assert_close(named["head"], 10 * energies.riesz(model.head.weight))
    same_for_all = spec.MHE(half_space=False, hidden_weight=1.0, final_weight=1.0)
    assert list(regularizers.build(same_for_all, model).by_layer()) == ["head", "b"]
    with pytest.raises(ValueError, match="final: 'haed' is no layer; there are head, b"):
        regularizers.build(spec.MHE(), model, final="haed")


def test_with_the_head_defined_first_values_and_features_are_the_right_ones() -> None:
    model = HeadFirst()
    torch.testing.assert_close(regularizers.build(spec.MHE(), model)(), of_head_first(model))
    penalty = regularizers.build(spec.KoLeo(), model)
    x, _ = batch()
    model(x)
    (term,) = penalty.terms
    torch.testing.assert_close(term.features, model.body(x))


def test_features_of_two_heads_need_a_name() -> None:
    model = FLOWS["two heads"][0]
    with pytest.raises(ValueError, match="one layer that its outputs come out of, found a, c: name it"):
        regularizers.build(spec.Uniformity(), model)
    penalty = regularizers.build(spec.Uniformity(), model, final="c")
    model(batch()[0])
    assert penalty().isfinite()
