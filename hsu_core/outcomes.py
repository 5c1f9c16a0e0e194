"""What leaves a training run: points of curves while it runs, and how it ended. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Series(NamedTuple):
    """The name of one curve."""

    layer: str | None
    """None for what concerns the whole model."""
    measure: str
    """A measure of the panel for a layer; for the model `loss`, `accuracy`, `penalty`, `learning_rate`, `test_…`."""


@dataclass(frozen=True)
class Finished:
    """Every step was made."""

    step: int
    metrics: dict[str, float]
    """test_accuracy, test_loss, train_loss and penalty after the last step; seconds, steps_per_second, parameters."""
    skipped_layers: dict[str, str]
    """Layers that the regularizer was to act on and could not, and why."""


@dataclass(frozen=True)
class Stopped:
    """It was asked to stop, after `step` updates."""

    step: int


@dataclass(frozen=True)
class Diverged:
    """A number is no longer finite."""

    step: int
    layer: str | None
    """Where it was found; None if it is not one layer's."""
    measure: str
    """What is not finite: `weights` or `penalty` of the layer, or the model's `loss`."""


Outcome = Finished | Stopped | Diverged
