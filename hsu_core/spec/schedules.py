"""How fast are the weights updated? Schedules of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.values import WHOLE, Count, Fraction, Real, Spec, at_most, fault, left_out_at

__all__ = ["Constant", "Cosine", "MultiStep", "Schedule", "StepDecay"]


class Constant(Spec):
    """The learning rate is constant."""

    kind: Literal["constant"] = "constant"


class StepDecay(Spec):
    """The learning rate is multiplied by `gamma` at each milestone, a fraction of the training."""

    kind: Literal["step"] = "step"
    milestones: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=64), at_most(64)] = (0.4, 0.7, 0.9)
    """Fractions of the whole training, ascending."""
    gamma: Annotated[Real, Field(gt=0, le=1000)] = 0.1
    warmup: Annotated[Fraction, left_out_at(0.0)] = 0.0
    """Fraction of the whole training, at its start, during which the rate rises linearly from 0."""

    @model_validator(mode="after")
    def _ascending(self) -> StepDecay:
        _check_ascending(self.milestones)
        return self


class MultiStep(Spec):
    """The learning rate is multiplied by `gamma` at each milestone, a step of the training."""

    kind: Literal["multi_step"] = "multi_step"
    milestones: Annotated[tuple[Count, ...], Field(min_length=1, max_length=64), at_most(64)]
    """Steps, ascending: the update after each of them is the first with the new rate."""
    gamma: Annotated[Real, Field(gt=0, le=1000)] = 0.1
    warmup: Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE] = 0
    """Steps at the start during which the rate rises linearly from 0."""

    @model_validator(mode="after")
    def _ascending(self) -> MultiStep:
        _check_ascending(self.milestones)
        return self


class Cosine(Spec):
    """The learning rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup: Fraction = 0.0
    """Fraction of the whole training, at its start, during which the rate rises linearly from 0."""


Schedule = Annotated[Constant | StepDecay | MultiStep | Cosine, Field(discriminator="kind")]


def _check_ascending(milestones: Sequence[float] | Sequence[int]) -> None:
    if list(milestones) != sorted(set(milestones)):
        raise fault("milestones", "not_ascending", f"milestones must ascend, found {list(milestones)}")
