"""Which part of each layer's gradient comes from the penalty?

‖∇ penalty‖ / (‖∇ loss‖ + ‖∇ penalty‖), by the layer's own weights: 0 if the penalty does not act on the layer, 1/2 if
it pulls as hard as the loss, 1 if only the penalty moves the layer. Unlike ‖∇ penalty‖ / ‖∇ loss + ∇ penalty‖ it is
within [0, 1] and does not depend on the angle of the two, so it does not jump where they cancel. Clipping scales both
and leaves it as it is; weight decay, momentum and an optimizer's own scales belong to neither.

Knows layers, autograd and the world. It only reads: gradients are returned and not accumulated, so the update that
follows is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hsu_core.ranks import World
from hsu_core.regularizers.layers import Layer

Gradients = Mapping[int, Tensor]
"""By the id of the parameter."""


def of_layers(
    layers: Sequence[Layer], loss: Float[Tensor, ""], added: Float[Tensor, ""] | None, *, world: World
) -> dict[str, float]:
    """The share in each layer that is not frozen; `added` is what the penalty adds to this step's loss, if it acts.

    The graphs are kept, for the backward pass that follows. In a parallel run both gradients are those of the whole
    batch, as in the update; every rank must call this. Costs two backward passes.
    """
    moving = [layer for layer in layers if not layer.is_frozen]
    if added is None or not added.requires_grad:
        return dict.fromkeys((layer.name for layer in moving), 0.0)
    parameters = {id(source): source for layer in moving for source in layer.sources if source.requires_grad}
    of_loss, of_penalty = (_gradients(each, parameters, world) for each in (loss, added))
    norms = torch.stack([torch.stack([_norm(layer, each) for each in (of_loss, of_penalty)]) for layer in moving])
    return {
        layer.name: penalty / (loss_norm + penalty) if penalty else 0.0
        for layer, (loss_norm, penalty) in zip(moving, norms.tolist(), strict=True)
    }


def _gradients(of: Tensor, parameters: Mapping[int, Tensor], world: World) -> Gradients:
    """The mean over ranks, as in the update: of a loss's parts, and of equal penalties."""
    found = torch.autograd.grad(of, list(parameters.values()), retain_graph=True, materialize_grads=True)
    return {key: world.mean(gradient) for key, gradient in zip(parameters, found, strict=True)}


def _norm(layer: Layer, gradients: Gradients) -> Float[Tensor, ""]:
    """Of the neurons' own entries, or of all parameters from which a recomputed weight comes."""
    sources = layer.sources
    if len(sources) == 1 and sources[0] is layer.weight:
        parts = [layer.view.rows(gradients[id(sources[0])])]
    else:
        parts = [gradients[id(source)] for source in sources if id(source) in gradients]
    each = [torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(each))
    return norm
