"""The penalty's share of each layer's gradient: the right numbers, of the next update, which stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from short_runs import Curves, recorder, training
from torch import nn

from hsu_core import regularizers, spec, tasks
from hsu_core.data import reading
from hsu_core.ranks import ALONE
from hsu_core.regularizers import batched
from hsu_core.regularizers.layers import layers
from hsu_core.training import gradient_share, launch
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

RECORD: dict[str, Any] = {"every": 1, "measures": ["mhe_s2"], "gradient_share": True}
NAMES = ["conv1", "conv2", "conv3", "classifier"]
KINDS = spec.kinds(spec.Regularizer)
BUT_NONE = [kind for kind in KINDS if kind != "none"]


def shares(curves: Curves, step: int) -> dict[str | None, float]:
    return {series.layer: value for series, value in curves[step].items() if series.measure == "gradient_share"}


def recorded(**changes: Any) -> Curves:
    curves, report = recorder()
    train(training(**({"duration": {"steps": 3}, "record": RECORD} | changes)), callbacks=Callbacks(report=report))
    return curves


def trained(folder: Path, **changes: Any) -> tuple[Curves, dict[str, torch.Tensor]]:
    curves, report = recorder()
    train(training(**changes), callbacks=Callbacks(report=report, checkpoint_dir=folder))
    return curves, load_file(folder / "step-000000003.safetensors")


@pytest.mark.parametrize("preset", [None, "authors"])
@pytest.mark.parametrize("kind", BUT_NONE)
def test_recording_it_changes_no_bit_of_the_training(kind: str, preset: str | None, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"regularizer": {"kind": kind, "preset": preset}, "duration": {"steps": 3}}
    with_shares, found = trained(tmp_path / "with", **asked, record=RECORD)
    without, expected = trained(tmp_path / "without", **asked, record=RECORD | {"gradient_share": False})
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for step, values in without.items():
        assert {series: with_shares[step][series] for series in values} == values
        assert list(shares(with_shares, step)) == NAMES
        assert all(0 <= share <= 1 for share in shares(with_shares, step).values())
        assert max(shares(with_shares, step).values()) > 0


@pytest.mark.parametrize("kind", BUT_NONE)
def test_nor_does_it_where_equal_layers_are_computed_together(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "pay", lambda _: True)
    asked: dict[str, Any] = {"model": {"kind": "mlp", "hidden": [8, 8, 8]}, "regularizer": {"kind": kind}}
    one, other = (
        trained(tmp_path / str(is_on), **asked, duration={"steps": 3}, record=RECORD | {"gradient_share": is_on})
        for is_on in (True, False)
    )
    assert all(torch.equal(one[1][name], value) for name, value in other[1].items())
    assert max(shares(one[0], 2).values()) > 0


@pytest.mark.parametrize("regularizer", [{"kind": "mhe"}, {"kind": "mhp", "preset": "authors"}, {"kind": "koleo"}])
def test_it_is_that_of_two_separate_backward_passes(regularizer: dict[str, Any]) -> None:
    chosen = training(regularizer=regularizer, duration={"steps": 1}, record=RECORD)
    norms = []
    for part in ("loss", "penalty"):
        task = tasks.prepare(chosen, reading.load(chosen.dataset, None), device=torch.device("cpu"))
        penalty = regularizers.build(chosen.regularizer, task.model, seed=chosen.seed, final="classifier")
        batch = next(task.batches(0))
        loss = task.loss(task.outputs(task.model, batch), batch)
        (loss if part == "loss" else penalty(0, lr=chosen.optimizer.lr)).backward()
        gradients = {layer.name: layer.weight.grad for layer in layers(task.model)}
        norms.append({name: 0.0 if each is None else each.norm().item() for name, each in gradients.items()})
    of_loss, of_penalty = norms
    found = shares(recorded(regularizer=regularizer, duration={"steps": 1}), 0)
    for name in NAMES:
        assert found[name] == pytest.approx(of_penalty[name] / (of_loss[name] + of_penalty[name]), rel=1e-5)


def test_a_penalty_of_every_second_step_has_a_share_there_and_none_in_between() -> None:
    seldom = recorded(regularizer={"kind": "mhe", "hidden_weight": 1, "final_weight": 1, "every": 2})
    twice = recorded(regularizer={"kind": "mhe", "hidden_weight": 2, "final_weight": 2})
    assert shares(seldom, 0) == pytest.approx(shares(twice, 0))
    assert [set(shares(seldom, step).values()) == {0.0} for step in range(4)] == [False, True, False, True]


def test_without_a_penalty_on_a_layer_its_share_is_0() -> None:
    assert set(shares(recorded(regularizer={"kind": "none"}), 2).values()) == {0.0}
    one = shares(recorded(regularizer={"kind": "mhe", "layers": ["conv2"]}, record=RECORD | {"layers": ["conv*"]}), 2)
    assert one.keys() == {"conv1", "conv2", "conv3"}
    assert [share > 0 for share in one.values()] == [False, True, False]


def test_features_move_what_lies_before_the_classifier() -> None:
    found = shares(recorded(regularizer={"kind": "uniformity"}), 1)
    assert [share > 0 for share in found.values()] == [True, True, True, False]


@pytest.mark.parametrize("kind", ["mhe", "koleo"])
def test_two_processes_record_what_one_does(kind: str) -> None:
    asked = training(regularizer={"kind": kind}, duration={"steps": 2}, record=RECORD)
    one, report_one = recorder()
    two, report_two = recorder()
    train(asked, callbacks=Callbacks(report=report_one))
    launch.train(asked, processes=2, callbacks=Callbacks(report=report_two))
    for step in range(3):
        assert shares(two, step) == pytest.approx(shares(one, step), rel=1e-3, abs=1e-6)


def test_a_spec_without_it_is_stored_as_before() -> None:
    assert "gradient_share" not in training().model_dump(mode="json")["record"]
    assert training(record=RECORD).model_dump(mode="json")["record"]["gradient_share"] is True


class Strange(nn.Module):
    """Attention's query, key and value lie in one parameter, the head's weight is recomputed, one layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.frozen = nn.Linear(4, 4)
        self.head = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        self.frozen.requires_grad_(False)


def test_a_part_of_a_parameter_a_recomputed_weight_and_a_frozen_one() -> None:
    torch.manual_seed(0)
    model = Strange()
    found = layers(model, final=["head"])
    fused, (g, v) = model.attention.in_proj_weight, model.head.parametrizations.weight.parameters()
    loss = (fused[:4] * 3).sum() + fused[8:].sum() + g.sum() + model.frozen.weight.sum()
    added = fused[:8].sum() + (2 * v).sum()
    got = gradient_share.of_layers(found, loss, added, world=ALONE)
    assert "frozen" not in got
    expected = {"attention.q": 1 / 4, "attention.k": 1.0, "attention.v": 0.0}
    assert {name: got[name] for name in expected} == pytest.approx(expected)
    of_loss, of_penalty = g.numel() ** 0.5, 2 * v.numel() ** 0.5
    assert got["head"] == pytest.approx(of_penalty / (of_loss + of_penalty))
    assert got["attention.out_proj"] == 0.0
    assert all(parameter.grad is None for parameter in model.parameters())
