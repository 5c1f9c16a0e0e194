"""Which module is a layer of a geometry? Built from its numbers, so that no network repeats a size."""

from __future__ import annotations

from torch import nn

from hsu_core import spec


def weighted(layer: spec.Layer) -> nn.Linear | nn.Conv2d:
    """The layer itself, as torch initialises it."""
    if layer.kind == "linear":
        return nn.Linear(layer.inputs, layer.out, bias=layer.bias)
    return nn.Conv2d(layer.inputs, layer.out, layer.kernel, stride=layer.stride, padding=layer.padding, bias=layer.bias)


def normed(layer: spec.Layer, *, eps: float = 1e-5) -> nn.BatchNorm2d:
    """The batch norm of a convolution's outputs."""
    return nn.BatchNorm2d(layer.out, eps=eps)
