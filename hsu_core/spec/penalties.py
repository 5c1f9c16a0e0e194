"""What does every penalty have? A weight, layers that it acts on, a schedule, and its texts in the catalog."""

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
    """What the catalog says about a regularizer."""

    latex: str
    """The penalty of one layer, before its weight; lower is better."""
    plain: str
    source: str
    acts_on: Literal["nothing", "weights", "features"]
    relative_cost: float
    """Time of the penalty of `cnn9`, forward and backward, in units of `mhe`: benchmarks/catalog.py, one thread."""
    caution: str = ""
    """Known degeneracies: when it does not have the expected effect."""
    differs: str = ""
    """How the defaults differ from the authors' code, and why."""


Arithmetic = Annotated[Literal["exact", "authors"], Field(exclude_if=lambda value: value == "exact")]
"""The canonical spec leaves it out if it is `exact`, like every spec that is older than this field."""


class Steady(Spec):
    """The weight is constant."""

    kind: Literal["steady"] = "steady"


class WarmUp(Spec):
    """The weight rises linearly from 0."""

    kind: Literal["warmup"] = "warmup"
    fraction: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """Fraction of the whole training after which the weight has its full value."""


class Decay(Spec):
    """The weight falls linearly over the whole training."""

    kind: Literal["decay"] = "decay"
    to: Annotated[Real, Field(ge=0, le=1)] = 0.0
    """Fraction of the full weight that remains at the end."""


WeightSchedule = Annotated[Steady | WarmUp | Decay, Field(discriminator="kind")]


class Penalty(Spec):
    """The weight of a penalty in the loss, and the steps at which it acts."""

    about: ClassVar[About]

    kind: str
    preset: Annotated[Literal["authors"] | None, Field(exclude_if=lambda _: True)] = None
    """`authors`: fields that are not given are as in the authors' code. The stored spec has their values instead."""
    schedule: WeightSchedule = Steady()
    """How the weights change during the training."""
    every: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1
    """The penalty acts on every k-th step, k times as strongly, so that the mean gradient is the same."""

    @model_validator(mode="before")
    @classmethod
    def _filled_in(cls, value: object) -> object:
        if not isinstance(value, Mapping) or value.get("preset") != "authors":
            return value
        given = {name: own for name, own in value.items() if name != "preset"}
        return {**cls.authors(given), **given}

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The preset `authors`: the values that differ from the defaults. Given fields override them."""
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
    """Factors for the weights above, by name or pattern of a layer; the first match counts."""

    @property
    def is_mirrored(self) -> bool:
        """Whether it acts in half space, where hidden layers and the classifier differ."""
        return False

    @property
    def needs_pairs(self) -> bool:
        """Whether a layer of one neuron, or with neurons of one dimension, is too small for it."""
        return False


class SpherePenalty(LayerPenalty):
    """A penalty of the family: on the directions of neurons."""

    half_space: Flag = True
    """Also count the mirror images −x. Hidden layers only, never the classifier."""
    low_precision: Flag = False
    """Multiply matrices in bfloat16; everything else is in float32. Gradients are then correct to about 1 %."""
    arithmetic: Arithmetic = "exact"
    """`authors`: exactly as in the authors' program. Norms are √(Σw² + 10⁻⁴), and points that are already normalised
    are normalised again. Angles have 10⁻⁴ added. For s = 0 it is the logarithm of the squared distance. Ties of `mhs`
    are added up. It uses autograd, so it is slower."""

    @classmethod
    def authors(cls, _given: Mapping[str, Any], /) -> dict[str, Any]:
        """The authors' arithmetic."""
        return {"arithmetic": "authors"}

    @property
    def is_mirrored(self) -> bool:
        """Whether it acts in half space."""
        return self.half_space

    @property
    def needs_pairs(self) -> bool:
        """A single neuron cannot be spread."""
        return True

    @model_validator(mode="after")
    def _one_arithmetic(self) -> SpherePenalty:
        if self.arithmetic == "authors" and self.low_precision:
            raise fault("low_precision", "authors_in_float32", "the authors' arithmetic is in float32, found true")
        return self


class FeaturePenalty(Penalty):
    """A penalty on a batch of features: the inputs of the classifier."""

    weight: NonNegative
    """Weight of the batch's term."""

    @property
    def needs_classes(self) -> bool:
        """Whether it needs the classes of the batch's examples."""
        return False
