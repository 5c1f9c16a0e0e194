"""How are the weights updated? Optimizers, and what their weight decay acts on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.values import WHOLE, Flag, Fraction, NonNegative, Positive, Spec, at_most, fault, left_out_at

__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer"]

OwnDecay = Annotated[NonNegative | None, left_out_at(None)]
"""Null stands for the optimizer's own `weight_decay`."""


class Decaying(Spec):
    """An optimizer whose weight decay may differ between weights, norms and biases."""

    norm_decay: OwnDecay = None
    """Weight decay of the scales and shifts of norms; null: `weight_decay`, as for all parameters."""
    bias_decay: OwnDecay = None
    """Weight decay of the biases of layers; null: `weight_decay`."""


class SGD(Decaying):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: Flag = False
    dampening: Annotated[Fraction, left_out_at(0.0)] = 0.0
    """The momentum takes 1 − dampening of each gradient."""
    weight_decay: NonNegative = 5e-4

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise fault("momentum", "nesterov_without_momentum", "nesterov needs a momentum above 0, found 0")
        if self.nesterov and self.dampening:
            raise fault("dampening", "nesterov_with_dampening", f"nesterov has no dampening, found {self.dampening}")
        return self


class AdamW(Decaying):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], at_most(2)] = (0.9, 0.999)
    weight_decay: NonNegative = 1e-2


class Adam(Decaying):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980). Its weight decay is part of the gradient, as in the L2 penalty."""

    kind: Literal["adam"] = "adam"
    lr: Positive = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], at_most(2)] = (0.9, 0.999)
    weight_decay: NonNegative = 0.0


class Muon(Decaying):
    """Momentum whose matrix is made nearly orthogonal before each update (Jordan et al. 2024), with decoupled decay.

    It updates the weights of hidden linear layers and convolutions, a neuron being a row. All other parameters, also
    those of the classifier and of embedding tables, are updated by AdamW with the same rate: Muon's updates are scaled
    to AdamW's usual size (Liu et al. 2025, arXiv 2502.16982).
    """

    kind: Literal["muon"] = "muon"
    lr: Positive = 1e-3
    momentum: Fraction = 0.95
    nesterov: Flag = True
    iterations: Annotated[int, Field(ge=1, le=99), WHOLE] = 5
    """Newton–Schulz steps towards an orthogonal matrix."""
    betas: Annotated[tuple[Fraction, Fraction], at_most(2)] = (0.9, 0.999)
    """Of AdamW."""
    weight_decay: NonNegative = 1e-2


Optimizer = Annotated[SGD | AdamW | Adam | Muon, Field(discriminator="kind")]
