"""What leaves a training run: points of curves and checkpoints while it runs, and how it ended. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Series(NamedTuple):
    """The name of one curve."""

    layer: str | None
    """None for what concerns the whole model."""
    measure: str
    """A measure of the panel for a layer; for the model `loss`, `accuracy`, `penalty`, `learning_rate`, `test_…`."""


class Reference(NamedTuple):
    """What a measure of a layer is to be compared with; None where no finite value is defined or known."""

    random: float | None
    """For uniformly random points."""
    optimum: float | None
    """For the best points, where that is proven."""


class Saved(NamedTuple):
    """A checkpoint that is on the disk, whole, under its final name."""

    step: int
    path: Path
    sha256: str
    """Of the file, in hexadecimal."""
    bytes: int
    metric: float | None
    """The last test_accuracy up to this step, None before the first evaluation."""
    is_best: bool
    """Whether no evaluation before this step's was as good. False if this step's state was not evaluated."""


@dataclass(frozen=True)
class DeviceUsed:
    """What did the work, as the work itself found it."""

    type: str
    """`cpu` or `cuda`."""
    name: str
    """The processor's or the GPU's."""
    count: int
    """How many worked together; on a CPU, processes."""
    threads: int
    """Threads of each process on the CPU: with another number sums round differently."""


@dataclass(frozen=True)
class Finished:
    """Every step was made."""

    step: int
    metrics: dict[str, float]
    """test_accuracy, test_loss, train_loss and penalty after the last step; seconds, steps_per_second, parameters."""
    skipped_layers: dict[str, str]
    """Layers that the regularizer was to act on and could not, and why."""
    unsaved: str | None = None
    """Why the last state is not on the disk, if it was to be."""
    device: DeviceUsed | None = None
    """Where the network's weights were."""


@dataclass(frozen=True)
class Stopped:
    """It was asked to stop, after `step` updates."""

    step: int
    unsaved: str | None = None
    """Why the state is not on the disk, if it was to be: an earlier checkpoint must do."""


@dataclass(frozen=True)
class Diverged:
    """A number is no longer finite."""

    step: int
    layer: str | None
    """Where it was found; None if it is not one layer's."""
    measure: str
    """What is not finite: `weights` or `penalty` of the layer, or the model's `loss` or `test_loss`."""


Outcome = Finished | Stopped | Diverged
