"""How do the batch norms of a network compute their averages?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsu_core.spec.values import Flag, Positive, Real, Spec

__all__ = ["BatchNorm"]


class BatchNorm(Spec):
    """Settings of every batch norm (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

    momentum: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """Weight of a batch in the running mean and variance. TensorFlow calls 1 − this `decay`."""
    eps: Positive | None = None
    """Added to the variance; null: as the network is published."""
    debiased: Flag = False
    """The running mean and variance start at 0 and are divided by 1 − (1 − momentum)ᵗ after t batches, as TensorFlow's
    moving average of a tensor is. Otherwise they start at 0 and 1, as torch's."""
