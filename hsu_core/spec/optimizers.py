"""How are the weights updated, and how fast? Optimizers, and schedules of their learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.values import Flag, Fraction, NonNegative, Positive, Real, Spec, at_most, fault

__all__ = ["SGD", "Adam", "AdamW", "Constant", "Cosine", "Optimizer", "Schedule", "StepDecay"]


class SGD(Spec):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: Flag = False
    weight_decay: NonNegative = 5e-4

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise fault("momentum", "nesterov_without_momentum", "nesterov needs a momentum above 0, found 0")
        return self


class AdamW(Spec):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], at_most(2)] = (0.9, 0.999)
    weight_decay: NonNegative = 1e-2


class Adam(Spec):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980). Its weight decay is part of the gradient, as in the L2 penalty."""

    kind: Literal["adam"] = "adam"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], at_most(2)] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0


Optimizer = Annotated[SGD | AdamW | Adam, Field(discriminator="kind")]


class Constant(Spec):
    """The learning rate is constant."""

    kind: Literal["constant"] = "constant"


class StepDecay(Spec):
    """The learning rate is multiplied by `gamma` at each milestone."""

    kind: Literal["step"] = "step"
    milestones: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=64), at_most(64)] = (0.4, 0.7, 0.9)
    """Fractions of the whole training, ascending."""
    gamma: Annotated[Real, Field(gt=0, le=1000)] = 0.1

    @model_validator(mode="after")
    def _ascending(self) -> StepDecay:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise fault("milestones", "not_ascending", f"milestones must ascend, found {list(self.milestones)}")
        return self


class Cosine(Spec):
    """The learning rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup: Fraction = 0.0
    """Fraction of the whole training, at its start, during which the rate rises linearly from 0."""


Schedule = Annotated[Constant | StepDecay | Cosine, Field(discriminator="kind")]
