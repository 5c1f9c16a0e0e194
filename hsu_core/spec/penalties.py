"""What has every penalty? A weight, layers that it acts on, a schedule, and what the catalog says of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hsu_core.spec.values import WHOLE, Factors, Flag, NonNegative, Patterns, Real, Spec


class About(NamedTuple):
    """What the catalog says of a regularizer."""

    latex: str
    """The penalty of one layer, before its weight; lower is better."""
    plain: str
    source: str
    acts_on: Literal["nothing", "weights", "features"]
    relative_cost: float
    """Forward and backward of the whole penalty of `cnn9`, in units of `mhe`'s: benchmarks/catalog.py, one thread."""
    caution: str = ""
    """Known degeneracies: when it does not do what one might hope."""


class Steady(Spec):
    """The weight stays."""

    kind: Literal["steady"] = "steady"


class WarmUp(Spec):
    """The weight rises linearly from 0."""

    kind: Literal["warmup"] = "warmup"
    fraction: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """Part of the whole training after which it is full."""


class Decay(Spec):
    """The weight falls linearly over the whole training."""

    kind: Literal["decay"] = "decay"
    to: Annotated[Real, Field(ge=0, le=1)] = 0.0
    """Part of the full weight that is left at the end."""


WeightSchedule = Annotated[Steady | WarmUp | Decay, Field(discriminator="kind")]


class Penalty(Spec):
    """How much a penalty weighs in the loss, and when."""

    about: ClassVar[About]

    kind: str
    schedule: WeightSchedule = Steady()
    """What becomes of the weights in the course of the training."""
    every: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1
    """The penalty acts on every k-th step, k times as strong: the mean gradient stays."""


class LayerPenalty(Penalty):
    """A penalty on the weights of layers."""

    hidden_weight: NonNegative
    """Weight of each hidden layer's term."""
    final_weight: NonNegative
    """Weight of the classifier's term."""
    layers: Patterns = ("*",)
    """Names or patterns (`conv1_*`) of the layers that it acts on."""
    layer_weights: Factors = Field(default={})
    """Factors by name or pattern, on top of the weights above; the first that matches counts."""


class SpherePenalty(LayerPenalty):
    """A penalty of the family: on the directions of neurons."""

    half_space: Flag = True
    """Also count the mirror images −x. Hidden layers only, never the classifier."""
    low_precision: Flag = False
    """Multiply in bfloat16; everything else stays in float32. Gradients are then right to about 1 %."""


class FeaturePenalty(Penalty):
    """A penalty on a batch of features: the inputs of the classifier."""

    weight: NonNegative
    """Weight of the batch's term."""
