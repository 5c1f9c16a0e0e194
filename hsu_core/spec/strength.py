"""How strong is a penalty to be, whatever its own scale? As a multiple of the loss's gradient."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsu_core.spec.family import NoRegularizer
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.layer_names import layer_weights
from hsu_core.spec.penalties import FeaturePenalty, LayerPenalty
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.values import WHOLE, Positive, Spec

__all__ = ["Strength", "has_weight", "scaled", "weights_of"]


class Strength(Spec):
    """The weights of the regularizer are multiplied by one factor, so that ‖∇ penalty‖ = gradient_ratio · ‖∇ loss‖.

    It is resolved before the first update and then stays: the factor is the ratio of two mean norms, each over the
    first batches at the initial weights, with the gradients by all parameters that the penalty reaches. A schedule of
    the weight acts on top: the ratio holds at its full weight. Regularizers of different scale can so be compared at
    equal strength.
    """

    gradient_ratio: Positive
    """The norm of the penalty's gradient by that of the loss's."""
    batches: Annotated[int, Field(ge=1, le=1000), WHOLE] = 10
    """The first batches, over which the norms are averaged. Each takes one forward pass and two backward passes."""


def weights_of(regularizer: Regularizer) -> dict[str, float]:
    """The weights of a regularizer, by the names of their fields; empty for one without a penalty."""
    match regularizer:
        case LayerPenalty(hidden_weight=hidden, final_weight=final):
            return {"hidden_weight": hidden, "final_weight": final}
        case FeaturePenalty(weight=weight):
            return {"weight": weight}
        case _:
            return {}


def scaled(regularizer: Regularizer, factor: float) -> Regularizer:
    """The regularizer with all its weights multiplied by a factor."""
    changed = {name: factor * weight for name, weight in weights_of(regularizer).items()}
    return regularizer.model_copy(update=changed)


def has_weight(regularizer: Regularizer, geometry: Geometry) -> bool:
    """Whether the regularizer has a weight that is not 0, in a network with these layers."""
    match regularizer:
        case NoRegularizer():
            return False
        case LayerPenalty():
            return bool(layer_weights(regularizer, geometry))
        case FeaturePenalty(weight=weight):
            return weight > 0
