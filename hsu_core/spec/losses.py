"""Which loss tells a network the right class?"""

from __future__ import annotations

from typing import Literal

from hsu_core.spec.values import Fraction, Spec

__all__ = ["CrossEntropy"]


class CrossEntropy(Spec):
    """Cross entropy of the classes' probabilities. An evaluation always computes it without the two options."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0
    """The target is 1 − this for the right class, and this in equal parts for all (Szegedy et al. 2016)."""
    softmax_floor: Fraction = 0.0
    """Added to each probability before the logarithm, as in the authors' programs: a bound of the loss, and of its
    gradient for an example that is certainly wrong."""
