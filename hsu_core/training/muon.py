"""How are matrices updated by Muon and all other parameters by AdamW, as one optimizer?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from hsu_core import spec

Group = dict[str, Any]


class MuonWithAdamW(Optimizer):
    """One list of groups and one state, of which each of two optimizers has its part.

    Its groups are first those of matrices, then those of the other parameters.
    """

    def __init__(self, groups: Iterable[Group], matrices: Iterable[Tensor], how: spec.Muon) -> None:
        of_muon = {id(matrix) for matrix in matrices}
        first = _part(groups, lambda parameter: id(parameter) in of_muon)
        rest = _part(groups, lambda parameter: id(parameter) not in of_muon)
        self._parts: list[Optimizer] = []
        if first:
            settings = {"momentum": how.momentum, "nesterov": how.nesterov, "ns_steps": how.iterations}
            self._parts.append(_RowsOfNeurons(first, lr=how.lr, adjust_lr_fn="match_rms_adamw", **settings))
        if rest:
            self._parts.append(AdamW(rest, lr=how.lr, betas=how.betas, fused=True))
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters. A closure is not called."""
        assert closure is None
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the groups and the state, of both parts."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let each part see its groups and the one state."""
        groups = list(self.param_groups)
        for part in self._parts:
            count = len(part.param_groups)
            part.param_groups, groups = groups[:count], groups[count:]
            part.state = self.state


class _RowsOfNeurons(Muon):
    """torch's Muon, which takes only matrices, for convolutions too: a row is what a neuron sees."""

    def __init__(self, groups: list[Group], **settings: Any) -> None:
        shapes = [group["params"] for group in groups]
        super().__init__([{**group, "params": list(map(_flat, group["params"]))} for group in groups], **settings)
        for group, parameters in zip(self.param_groups, shapes, strict=True):
            group["params"] = parameters

    def _init_group(
        self,
        group: MutableMapping[str, Any],
        params_with_grad: list[Tensor],
        grads: list[Tensor],
        muon_momentum_bufs: list[Tensor],
    ) -> bool:
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)  # so that their rows have one order
        lists = (params_with_grad, grads, muon_momentum_bufs)
        has_complex = super()._init_group(group, *lists)
        for each in lists:
            each[:] = map(_flat, each)
        return has_complex


def _flat(weight: Tensor) -> Tensor:
    """The weight as a matrix in the same memory. The order of a row's entries changes nothing but theirs."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.detach().view(len(weight), -1)


def _part(groups: Iterable[Group], belongs: Callable[[Tensor], bool]) -> list[Group]:
    """The groups with only those parameters that belong; none that would be empty."""
    parts = [{**group, "params": list(filter(belongs, group["params"]))} for group in groups]
    return [part for part in parts if part["params"]]
