"""Does Muon update hidden matrices as torch's own, AdamW the rest, and are both one optimizer?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import assert_resumes_bit_for_bit, training
from torch import nn

from hsu_core import models, spec
from hsu_core.training import optimizers


def with_gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).contiguous(
            memory_format=torch.channels_last if parameter.ndim == 4 else torch.contiguous_format
        )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_hidden_weights_move_as_torchs_muon_moves_their_matrices(layout: torch.memory_format) -> None:
    network = models.build(spec.SmallCNN(width=4), spec.Digits.facts, seed=0).to(memory_format=layout)  # type: ignore[call-overload]
    hidden = ("conv1", "conv2", "conv3")
    matrices = {name: nn.Parameter(network.get_submodule(name).weight.detach().flatten(1).clone()) for name in hidden}
    other = nn.Parameter(network.classifier.weight.detach().clone())
    how = spec.Muon(lr=0.01, weight_decay=0.1)
    ours = optimizers.build(how, network, final={"classifier"})
    theirs = torch.optim.Muon(matrices.values(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([other], lr=0.01, weight_decay=0.1)
    for seed in range(3):
        with_gradients(network, seed)
        for name, matrix in matrices.items():
            matrix.grad = network.get_submodule(name).weight.grad.flatten(1).clone()
        other.grad = network.classifier.weight.grad.clone()
        ours.step()
        theirs.step()
        adamw.step()
    for name, matrix in matrices.items():
        # The iteration runs in bfloat16, and the order of a row's entries is another.
        torch.testing.assert_close(network.get_submodule(name).weight.flatten(1), matrix, atol=1e-3, rtol=0)
    torch.testing.assert_close(network.classifier.weight, other)


def test_what_has_no_hidden_matrix_is_left_to_adamw() -> None:
    network = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    made = optimizers.build(spec.Muon(), network, final={"2"})
    with_gradients(network, 0)
    made.step()
    assert all("exp_avg" in state for state in made.state.values())
    assert len(made.state) == 5


def test_decay_apart_and_muon_go_together() -> None:
    network = models.build(spec.SmallCNN(), spec.Digits.facts, seed=0)
    made = optimizers.build(spec.Muon(weight_decay=0.1, norm_decay=0.0), network, final={"classifier"})
    assert [(len(group["params"]), group["weight_decay"]) for group in made.param_groups] == [
        (3, 0.1),
        (1, 0.1),
        (6, 0.0),
    ]
    assert sum(len(group["params"]) for group in made.param_groups) == len(list(network.parameters()))


@pytest.mark.parametrize("model", [{"kind": "small_cnn", "width": 4}, {"kind": "mlp", "hidden": [8]}], ids=str)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(model: dict[str, Any], tmp_path: Path) -> None:
    chosen = training(model=model, optimizer={"kind": "muon", "lr": 0.01}, duration={"steps": 8})
    assert_resumes_bit_for_bit(chosen, tmp_path, stopped_at=4)
