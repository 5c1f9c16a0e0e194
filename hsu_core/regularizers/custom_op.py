"""How do a compiled step and torch.func call a penalty? As one operation that they do not trace.

The penalty depends on values, draws random numbers and keeps state; none of these can be traced. The operation computes
value and gradient together; outside of it the gradient is only scaled.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hsu_core.regularizers.penalty import Penalty

COUNTED = -1
"""Represents a step that is not given."""

_numbers = itertools.count()
_penalties: WeakValueDictionary[int, Penalty] = WeakValueDictionary()


def handle_of(penalty: Penalty) -> int:
    """A number that identifies this penalty in a compiled graph."""
    number = next(_numbers)
    _penalties[number] = penalty
    return number


def compiled(handle: int, points: Sequence[Tensor], step: int | None, lr: float | None) -> Tensor:
    """The addition to the loss by the penalty of this handle for these points, in a graph."""
    # A changing number would be compiled in, each time anew; a product and a symbolic integer are not.
    rate = None if lr is None else torch.ones((), dtype=torch.float64) * lr
    value: Tensor = _compiled(list(points), handle, COUNTED if step is None else step, rate)[0]
    return value


def transformed(handle: int, points: Sequence[Tensor], step: int | None, lr: float | None) -> Tensor:
    """Like `compiled`, under a transformation of `torch.func`."""
    value: Tensor = _Transformed.apply(handle, step, lr, *points)[0]  # type: ignore[no-untyped-call]
    return value


def is_transforming() -> bool:
    """Whether a `torch.func` transformation is active; the closed forms do not support its tensors."""
    return torch._C._are_functorch_transforms_active()


def _evaluated(handle: int, w: Sequence[Tensor], step: int | None, lr: float | None) -> tuple[Tensor, list[Tensor]]:
    """The value and its gradient with respect to the points."""
    with torch.enable_grad():
        leaves = [own.detach().requires_grad_() for own in w]
        value = _penalties[handle].weighted_sum(leaves, step, lr=lr, gated=True)
        if not value.requires_grad:  # the penalty does not act at this step
            return value, [torch.zeros_like(own) for own in w]
        return value.detach(), list(torch.autograd.grad(value, leaves))


class _Transformed(torch.autograd.Function):
    @staticmethod
    def forward(handle: int, step: int | None, lr: float | None, *w: Tensor) -> tuple[Tensor, ...]:
        value, gradients = _evaluated(handle, w, step, lr)
        return value, *gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ARG004
        ctx.save_for_backward(*output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(factors[0] * gradient for gradient in ctx.saved_tensors)


@torch.library.custom_op(
    "hsu::penalty", mutates_args=(), schema="(Tensor[] w, int handle, SymInt step, Tensor? lr) -> (Tensor, Tensor[])"
)
def _compiled(w: list[Tensor], handle: int, step: int, lr: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    # Inside an operation torch records no gradients, in any mode, until this dispatch key is enabled again.
    with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradFunctionality, False):  # noqa: FBT003
        asked = None if step == COUNTED else step
        value, gradients = _evaluated(handle, w, asked, None if lr is None else lr.item())
    return value, [gradient.contiguous() for gradient in gradients]


@_compiled.register_fake
def _(w: list[Tensor], *_: object) -> tuple[Tensor, list[Tensor]]:
    kind = max((own.dtype for own in w), key=lambda dtype: dtype.itemsize)
    return w[0].new_empty((), dtype=kind), [torch.empty_like(own, memory_format=torch.contiguous_format) for own in w]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, list[Tensor]]) -> None:  # noqa: ARG001 - torch's names
    ctx.save_for_backward(*output[1])


def _backward(ctx: Any, factor: Tensor, _: object) -> tuple[list[Tensor], None, None, None]:
    return [factor * gradient for gradient in ctx.saved_tensors], None, None, None


_compiled.register_autograd(_backward, setup_context=_keep)
