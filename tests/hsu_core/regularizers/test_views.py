"""Which parameters of a module are neurons: each kind against its own arithmetic, so that a row is what one sees."""

from __future__ import annotations

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from hsu_core import energies, regularizers, spec
from hsu_core.regularizers.layers import layers


class Model(nn.Module):
    """A module and a classifier beside it, which is defined first."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.body = body


def found(body: nn.Module) -> dict[str, Tensor]:
    """The points of a module, by the part of the name behind its own."""
    of_body = [layer for layer in layers(Model(body), final=("head",)) if layer.name != "head"]
    return {layer.name.removeprefix("body").lstrip("."): layer.points().detach() for layer in of_body}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_neuron_of_a_convolution_moves_only_its_own_channel(kind: type[nn.Conv2d], groups: int) -> None:
    body = kind(4, 6, 2, groups=groups, bias=False)
    points = found(body)
    names = [""] if groups == 1 else ["group0", "group1"]
    assert list(points) == names
    together = torch.cat(list(points.values()))
    x = torch.randn(1, 4, *(2,) * (body.weight.ndim - 2))
    seen = x.flatten().chunk(groups)
    expected = torch.cat([points[name] @ part for name, part in zip(names, seen, strict=True)])
    torch.testing.assert_close(body(x).flatten(), expected)
    assert together.shape == (6, 4 // groups * 2 ** (body.weight.ndim - 2))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_a_neuron_of_a_transposed_convolution_is_an_output_channel(kind: type[nn.ConvTranspose2d], groups: int) -> None:
    body = kind(4, 6, 2, groups=groups, bias=False)
    points = found(body)
    for number, (own, weight) in enumerate(zip(points.values(), body.weight.chunk(groups), strict=True)):
        for neuron in range(6 // groups):
            torch.testing.assert_close(own[neuron], weight[:, neuron].detach().flatten(), msg=f"group {number}")


def test_the_groups_of_a_convolution_count_as_one_layer() -> None:
    body = nn.Conv2d(8, 12, 3, groups=4)
    penalty = regularizers.build(spec.MHE(half_space=False), Model(body), final="head")
    groups = [energies.riesz(part.flatten(1), s=2.0) for part in body.weight.chunk(4)]
    by_layer = penalty.by_layer()
    assert sum(value.item() for name, value in by_layer.items() if name != "head") == pytest.approx(
        sum(value.item() for value in groups) / 4
    )


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_the_rows_of_a_table_are_points_but_for_that_of_the_padding(kind: type[nn.Embedding]) -> None:
    assert torch.equal(found(kind(5, 3))[""].shape and found(body := kind(5, 3))[""], body.weight.detach())
    padded = kind(5, 3, padding_idx=-2)
    assert torch.equal(found(padded)[""], padded.weight.detach()[[0, 1, 2, 4]])


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 5}], ids=["in one matrix", "apart"])
def test_query_key_and_value_are_apart(sizes: dict[str, int]) -> None:
    body = nn.MultiheadAttention(4, 2, **sizes)
    points = found(body)
    assert list(points) == ["q", "k", "v", "out_proj"]
    assert [part.shape[1] for part in points.values()] == [4, sizes.get("kdim", 4), sizes.get("vdim", 4), 4]
    if not sizes:
        assert body.in_proj_weight is not None
        assert torch.equal(torch.cat([points[name] for name in "qkv"]), body.in_proj_weight.detach())


@pytest.mark.parametrize(
    ("body", "gates"),
    [
        (nn.RNN(3, 4), []),
        (nn.GRU(3, 4, num_layers=2), ["r", "z", "n"]),
        (nn.LSTM(3, 4, bidirectional=True), ["i", "f", "g", "o"]),
        (nn.LSTMCell(3, 4), ["i", "f", "g", "o"]),
        (nn.RNNCell(3, 4), []),
    ],
    ids=["rnn", "gru", "lstm", "lstm cell", "rnn cell"],
)
def test_each_gate_of_each_recurrent_matrix_is_a_layer(body: nn.Module, gates: list[str]) -> None:
    points = found(body)
    matrices = [name for name, weight in body.named_parameters() if weight.ndim == 2]
    assert list(points) == [f"{name}.{gate}".rstrip(".") for name in matrices for gate in gates or [""]]
    assert {len(part) for part in points.values()} == {4}


def test_a_recurrent_layer_with_a_projection_has_its_neurons_too() -> None:
    points = found(nn.LSTM(3, 4, proj_size=2))
    assert points["weight_hr_l0"].shape == (2, 4)


@pytest.mark.parametrize(
    "parametrize",
    [parametrizations.weight_norm, parametrizations.orthogonal, parametrizations.spectral_norm],
    ids=["weight norm", "orthogonal", "spectral norm"],
)
def test_a_parametrized_table_is_read_anew_at_each_call(parametrize: type) -> None:
    body = nn.Embedding(5, 4)
    parametrize(body)
    model = Model(body).eval()
    layer = next(layer for layer in layers(model, final=("head",)) if layer.name == "body")
    before = layer.points().detach().clone()
    with torch.no_grad():
        for source in layer.sources:
            source.add_(torch.randn_like(source))
    assert not torch.allclose(layer.points(), before)
    torch.testing.assert_close(layer.points(), body.weight)


class Stranger(nn.Module):
    """All kinds of layers in one model; the classifier is defined first and tied to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 5)
        self.tokens = nn.Embedding(20, 8, padding_idx=0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.grouped = nn.Conv1d(8, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose1d(8, 8, 3, padding=1)
        self.normed = parametrizations.weight_norm(nn.Linear(8, 8))
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.attention.out_proj.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.recurrent(x)[0]
        x = self.up(self.grouped(x.mT)).mT
        logits: Tensor = self.classifier(self.tied(self.normed(x)).mean(dim=1))
        return logits


EXPECTED = {
    *("classifier", "tokens", "attention.q", "attention.k", "attention.v", "attention.out_proj"),
    *(f"recurrent.weight_{of}_l0.{gate}" for of in ("ih", "hh") for gate in "rzn"),
    *("grouped.group0", "grouped.group1", "up", "normed"),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler reads it
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_strangers_model_is_read_whole_and_takes_two_steps(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, *, compiled: bool
) -> None:
    if compiled:  # the compiler cannot look into the checks of shapes
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.manual_seed(0)
    model = Stranger().to(dtype)
    penalty = regularizers.build(spec.MHE(hidden_weight=1, final_weight=1, half_space=False), model, final="classifier")
    assert set(penalty.by_layer()) == EXPECTED
    assert penalty.skipped == {"tied": "shares its weight with attention.out_proj, where it counts"}
    q = model.attention.in_proj_weight.detach()[:8].float()
    by_hand = energies.riesz(q.double(), s=2.0).item()
    assert penalty.by_layer()["attention.q"].item() == pytest.approx(by_hand, rel=1e-4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    read = torch.compile(penalty, backend="aot_eager") if compiled else penalty
    values = []
    for step in range(2):
        optimizer.zero_grad()
        value = read(step) + model(torch.randint(1, 20, (2, 6))).float().square().mean()
        value.backward()
        optimizer.step()
        values.append(penalty.value(step).item())
    assert values[1] < values[0]
    assert model.tokens.weight.grad is not None
    assert not model.tokens.weight.grad[0].any()


# --- points of a caller's own -----------------------------------------------------------------------------------------


class Prototypes(nn.Module):
    """A model whose points are no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)
        self.prototypes = nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) @ self.prototypes.T


def test_a_callers_own_points_are_spread_as_those_of_a_layer() -> None:
    model = Prototypes()
    own = regularizers.OwnPoints("prototypes", lambda m: m.prototypes, is_final=True)
    penalty = regularizers.build(spec.MHE(), model, points=[own])
    by_layer = penalty.by_layer()
    assert set(by_layer) == {"body", "prototypes"}
    expected = 10 * energies.riesz(model.prototypes.detach(), s=2.0)  # as a classifier: whole sphere, final_weight
    assert by_layer["prototypes"].item() == pytest.approx(expected.item(), rel=1e-5)
    penalty(0).backward()
    assert model.prototypes.grad is not None
    assert list(regularizers.build(spec.MHE(layers=("proto*",)), model, points=[own]).by_layer()) == ["prototypes"]
    with pytest.raises(ValueError, match="nothing enters the points prototypes: expected a layer as the classifier"):
        regularizers.build(spec.HUG(), model, points=[own])


def test_a_parameter_that_the_outputs_come_out_of_leaves_no_layer_to_be_the_classifier() -> None:
    model = Prototypes()
    assert not any(layer.is_final for layer in layers(model))
    assert regularizers.build(spec.MHE(), model).skipped == {
        "prototypes": "is prototypes of Prototypes, which is not read as neurons"
    }
    with pytest.raises(ValueError, match="one layer that its outputs come out of, found none: name it"):
        regularizers.build(spec.KoLeo(), model)


def test_own_points_need_a_name_of_their_own_and_rows() -> None:
    model = Prototypes()
    with pytest.raises(ValueError, match="expected a name for each that no layer has"):
        regularizers.build(spec.MHE(), model, points=[regularizers.OwnPoints("body", lambda m: m.prototypes)])
    flat = regularizers.OwnPoints("flat", lambda m: m.prototypes.flatten(), is_final=True)
    with pytest.raises(ValueError, match=r"flat: expected an \(n, d\) tensor of real numbers, found torch.float32 of"):
        regularizers.build(spec.MHE(), model, points=[flat])
