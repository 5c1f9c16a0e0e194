"""Which parts of a module's parameters are neurons? For each kind of module: the parameter, and its rows as points.

Knows modules and tensors. Neurons are compared if they see the same input and do the same: so the groups of a
convolution, the query, key and value of attention, and the gates of a recurrent layer are each apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Rows = Callable[[Tensor], Tensor]


class View(NamedTuple):
    """Neurons that lie in one parameter of a module."""

    parameter: str
    """The name of the module's attribute."""
    rows: Rows
    """From the parameter to one row for each neuron."""
    part: str = ""
    """What tells it from the module's other views; empty if there are none."""
    share: float = 1.0
    """Its part of the module's weight in a penalty: the groups of a convolution together count as one layer."""


class Unread(NamedTuple):
    """Why a module's neurons are not read."""

    reason: str


NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
"""Their weights are scales and not directions, whatever their number of dimensions."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TABLES = (nn.Embedding, nn.EmbeddingBag)
_LINEAR = "torch_geometric.nn.dense.linear.Linear"
"""A linear layer that is not torch's own. It is known by its name, so that its library need not be there."""
_GATES = {"RNN": ("",), "LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n")}
"""In the order in which torch stacks them."""


def views(module: nn.Module) -> tuple[View, ...] | Unread:
    """The neurons of a module's own parameters; none if it has none."""
    if isinstance(module, nn.Linear) or _is_named(module, _LINEAR):
        return (View("weight", _flat),)
    if isinstance(module, _CONVOLUTIONS):
        return _grouped(module, partial(_of_group, groups=module.groups))
    if isinstance(module, _TRANSPOSED):
        return _grouped(module, partial(_of_transposed_group, groups=module.groups))
    if isinstance(module, _TABLES):
        return (View("weight", _flat if module.padding_idx is None else partial(_without, row=module.padding_idx)),)
    if isinstance(module, nn.MultiheadAttention):
        return tuple(_of_attention(module))
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return tuple(_of_recurrent(module))
    return ()


def _is_named(module: nn.Module, name: str) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" == name for kind in type(module).__mro__)


def _flat(weight: Tensor) -> Float[Tensor, "n d"]:
    return weight.flatten(start_dim=1)


def _grouped(module: _ConvNd, of_group: Callable[..., Tensor]) -> tuple[View, ...] | Unread:
    if module.groups == 1:
        return (View("weight", partial(of_group, group=0)),)
    if module.groups == module.out_channels:
        return Unread("is a depthwise convolution: each neuron sees another channel, so there is no pair to spread")
    share = 1 / module.groups
    return tuple(
        View("weight", partial(of_group, group=group), f"group{group}", share) for group in range(module.groups)
    )


def _of_group(weight: Tensor, *, groups: int, group: int) -> Float[Tensor, "n d"]:
    return _flat(weight if groups == 1 else weight.chunk(groups)[group])


def _of_transposed_group(weight: Tensor, *, groups: int, group: int) -> Float[Tensor, "n d"]:
    return _flat(weight.chunk(groups)[group].transpose(0, 1))  # stored as inputs × outputs


def _without(weight: Tensor, *, row: int) -> Float[Tensor, "n d"]:
    """The rows of a table but for that of the padding, which no training moves."""
    row %= len(weight)
    return torch.cat([weight[:row], weight[row + 1 :]])


def _of_attention(module: nn.MultiheadAttention) -> Iterator[View]:
    """Query, key and value, whether they are stored in one matrix or in three. The output has a module of its own."""
    for place, part in enumerate(("q", "k", "v")):
        if module.in_proj_weight is not None:
            yield View("in_proj_weight", partial(_chunk, count=3, place=place), part)
        else:
            yield View(f"{part}_proj_weight", _flat, part)


def _of_recurrent(module: nn.RNNBase | nn.RNNCellBase) -> Iterator[View]:
    """Each gate of each matrix: of the input, of the state before, of the projection."""
    mode = getattr(module, "mode", type(module).__name__.removesuffix("Cell"))
    gates = next((gates for name, gates in _GATES.items() if mode.startswith(name)), ("",))
    for name, weight in module.named_parameters(recurse=False):
        if weight.ndim < 2:
            continue
        of_each = ("",) if name.startswith("weight_hr") else gates  # a projection has no gates
        for place, gate in enumerate(of_each):
            yield View(name, partial(_chunk, count=len(of_each), place=place), f"{name}.{gate}".rstrip("."))


def _chunk(weight: Tensor, *, count: int, place: int) -> Float[Tensor, "n d"]:
    return weight.chunk(count)[place]
