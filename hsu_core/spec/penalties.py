"""What has every penalty? A weight, layers that it acts on, a schedule, and what the catalog says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hsu_core.spec.values import WHOLE, Factors, Flag, NonNegative, Patterns, Real, Spec, fault

__all__ = [
    "About",
    "Decay",
    "FeaturePenalty",
    "LayerPenalty",
    "Penalty",
    "SpherePenalty",
    "Steady",
    "WarmUp",
    "WeightSchedule",
]


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
    differs: str = ""
    """Where the defaults are not what the authors' code does, and why."""


Arithmetic = Annotated[Literal["exact", "authors"], Field(exclude_if=lambda value: value == "exact")]
"""Left out of the canonical spec where it is `exact`: as in every spec from before there was a choice."""


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
    preset: Annotated[Literal["authors"] | None, Field(exclude_if=lambda _: True)] = None
    """`authors`: what is not given is as in the authors' code. The spec that is kept states each value instead."""
    schedule: WeightSchedule = Steady()
    """What becomes of the weights in the course of the training."""
    every: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1
    """The penalty acts on every k-th step, k times as strong: the mean gradient stays."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, value: object) -> object:
        if not isinstance(value, Mapping) or value.get("preset") != "authors":
            return value
        given = {name: own for name, own in value.items() if name != "preset"}
        return {**cls.authors(given), **given}

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The preset `authors`: what differs from the defaults, beside what is given."""
        return {}


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
    arithmetic: Arithmetic = "exact"
    """`authors`: their program to the letter. Norms √(Σw² + 10⁻⁴), of points already normalised once more; angles
    + 10⁻⁴; for s = 0 the logarithm of the squared distance; ties of `mhs` added up. By autograd, so slower."""

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """Their arithmetic."""
        return {"arithmetic": "authors"}

    @model_validator(mode="after")
    def _one_arithmetic(self) -> SpherePenalty:
        if self.arithmetic == "authors" and self.low_precision:
            raise fault("low_precision", "authors_in_float32", "the authors' arithmetic is in float32, found true")
        return self


class FeaturePenalty(Penalty):
    """A penalty on a batch of features: the inputs of the classifier."""

    weight: NonNegative
    """Weight of the batch's term."""
