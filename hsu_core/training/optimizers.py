"""Which torch optimizer does a spec ask for, and how much does each parameter decay?"""

from __future__ import annotations

from collections.abc import Collection
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hsu_core import spec
from hsu_core.training.muon import MuonWithAdamW

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def build(chosen: spec.Optimizer, model: nn.Module, *, final: Collection[str] = ()) -> torch.optim.Optimizer:
    """The optimizer of a model's parameters; one group of them for each weight decay that differs.

    `final`: the names of the modules that compute the outputs; Muon leaves them to AdamW.
    """
    groups = _groups(chosen, model)
    match chosen:
        case spec.SGD():
            return torch.optim.SGD(
                groups,
                lr=chosen.lr,
                momentum=chosen.momentum,
                dampening=chosen.dampening,
                nesterov=chosen.nesterov,
                fused=True,
            )
        case spec.AdamW() | spec.Adam():
            kind = torch.optim.Adam if isinstance(chosen, spec.Adam) else torch.optim.AdamW
            return kind(groups, lr=chosen.lr, betas=chosen.betas, fused=True)
        case spec.Muon():
            return MuonWithAdamW(groups, _matrices(model, final), chosen)
        case _:
            assert_never(chosen)


def l2_term(optimizer: torch.optim.Optimizer) -> Float[Tensor, ""]:
    """½ Σ decay · ‖w‖² over the groups: the L2 term of a loss whose gradient the weight decay is."""
    halves = [
        group["weight_decay"] / 2 * sum(each.detach().square().sum() for each in group["params"] if each.requires_grad)
        for group in optimizer.param_groups
    ]
    return torch.stack([torch.as_tensor(half) for half in halves]).sum()


def _matrices(model: nn.Module, final: Collection[str]) -> list[Tensor]:
    """The weights of hidden layers, each neuron a row."""
    hidden = (each for name, each in model.named_modules() if name not in final and not isinstance(each, nn.Embedding))
    own = (found for module in hidden for found in module.named_parameters(recurse=False))
    return [parameter for name, parameter in own if name.endswith("weight") and parameter.ndim >= 2]


def _groups(chosen: spec.Optimizer, model: nn.Module) -> list[dict[str, object]]:
    """Parameters by their decay, in the order of the model within each."""
    by_decay: dict[float, list[Tensor]] = {chosen.weight_decay: []}
    for name, parameter in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        is_norms = isinstance(model.get_submodule(owner), NORMS)
        own = chosen.norm_decay if is_norms else chosen.bias_decay if kind == "bias" else None
        by_decay.setdefault(chosen.weight_decay if own is None else own, []).append(parameter)
    return [{"params": kept, "weight_decay": decay} for decay, kept in by_decay.items() if kept]
