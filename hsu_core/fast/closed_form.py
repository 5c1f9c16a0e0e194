"""How does a known gradient enter autograd? By one function whose derivative is given, not recorded.

Knows autograd, autocast and saved tensors. Knows no energies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

Gradient = Callable[..., tuple[Tensor | None, ...]]
"""From the incoming factor of the backward pass and the saved tensors to the gradient of each input."""

Evaluated = tuple[Tensor, Gradient, tuple[Tensor | None, ...]]
"""The value, the function for the gradient, and the tensors to keep for it."""


Evaluate = Callable[..., Evaluated]
"""An energy: evaluate(*inputs, wanted=…), where `wanted` says which inputs need a gradient."""


def closed_form(evaluate: Evaluate, *inputs: Tensor) -> Tensor:
    """The value, differentiable once. If no gradient is needed, none is prepared."""
    wanted = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in inputs)
    if any(wanted):
        value: Tensor = _ClosedForm.apply(evaluate, wanted, *inputs)  # type: ignore[no-untyped-call]
        return value
    with torch.no_grad(), without_autocast(inputs[0].device):
        return evaluate(*inputs, wanted=wanted)[0]


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Compute in the tensors' own types. `meta` has no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class _ClosedForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, evaluate: Evaluate, wanted: tuple[bool, ...], *inputs: Tensor) -> Tensor:
        with without_autocast(inputs[0].device):
            value, ctx.gradient, saved = evaluate(*inputs, wanted=wanted)
        ctx.save_for_backward(*saved)
        return value

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a closed-form gradient cannot be differentiated again: "
                "expected create_graph=False, found True; hsu_core.energies has second derivatives"
            )
        with without_autocast(factors[0].device):
            return None, None, *ctx.gradient(*factors, *ctx.saved_tensors)
