"""What does a training run return? Points of curves and checkpoints while it runs, and how it ended. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Series(NamedTuple):
    """The name of one curve."""

    layer: str | None
    """None for a curve of the whole model."""
    measure: str
    """A measure of the panel for a layer, `inner_gap` or `gradient_share`; for the model `loss`, `penalty`,
    `learning_rate`, and what its task measures and evaluates (for a classification `accuracy`, `test_loss`,
    `test_accuracy`)."""


class Reference(NamedTuple):
    """The values to compare a layer's measure with; None where no finite value is defined or known."""

    random: float | None
    """For uniformly random points."""
    optimum: float | None
    """For the best points, where it is proven."""
    bound: float | None = None
    """Where no optimum is proven: a value that no points surpass."""
    bound_source: str | None = None
    """Who proved the bound."""


class Saved(NamedTuple):
    """A checkpoint that is on the disk, complete, under its final name."""

    step: int
    path: Path
    sha256: str
    """The file's hash, in hexadecimal."""
    bytes: int
    metric: float | None
    """The last value of the task's primary metric up to this step, None before the first evaluation."""
    is_best: bool
    """Whether this step's evaluation is better than all before it. False if this step's state was not evaluated."""


@dataclass(frozen=True)
class DeviceUsed:
    """The devices that did the work, as the work itself found them."""

    type: str
    """`cpu` or `cuda`."""
    name: str
    """The name of the processor or the GPU."""
    count: int
    """How many worked together; on a CPU, processes."""
    threads: int
    """CPU threads of each process: with another number sums round differently."""


@dataclass(frozen=True)
class Hashes:
    """SHA-256 in hexadecimal of what a run read, started from and made; equal for equal values on any device."""

    data: str | None
    """Of the data set; None for a plug-in's data that cannot be hashed."""
    initial_weights: str | None
    """Of the network's parameters and buffers before the first update; None if the run was resumed from a checkpoint
    that does not tell it."""
    first_batches: str | None
    """Of the first three batches as they enter the network, with their classes; None like the initial weights."""
    final_weights: str
    """Of the parameters and buffers after the last update, as they are saved."""


@dataclass(frozen=True)
class ResolvedStrength:
    """The strength of the penalty that the run found for its spec's `strength`."""

    factor: float
    weights: dict[str, float]
    """The weights of the regularizer times the factor, by the names of their fields."""


@dataclass(frozen=True)
class Answers:
    """Which examples of a test set were classified right."""

    count: int
    """The examples of the test set."""
    bits: bytes
    """One bit each, in the order of the test set, the most significant bit of a byte first; padded with zeros."""


@dataclass(frozen=True)
class Finished:
    """All steps were completed."""

    step: int
    metrics: dict[str, float]
    """What the task evaluates, train_loss and penalty after the last step; seconds, steps_per_second, parameters; and
    what the spec's `evaluate` asks for."""
    skipped_layers: dict[str, str]
    """Layers that the regularizer should act on but cannot, and why."""
    unsaved: str | None = None
    """Why the last state is not on the disk, although it should be; otherwise None."""
    device: DeviceUsed | None = None
    """Where the network's weights were."""
    tables: dict[str, list[dict[str, str | float]]] = field(default_factory=dict)
    """What was measured once at the end and has several values, by name: rows with equal keys."""
    hashes: Hashes | None = None
    strength: ResolvedStrength | None = None
    """None without `strength` in the spec."""
    answers: Answers | None = None
    """Of the last evaluation; None for a task that does not classify."""


@dataclass(frozen=True)
class Stopped:
    """A request to stop ended the run, after `step` updates."""

    step: int
    unsaved: str | None = None
    """Why the state is not on the disk, although it should be: the run can only resume from an earlier checkpoint."""


@dataclass(frozen=True)
class Diverged:
    """A number became infinite or NaN."""

    step: int
    layer: str | None
    """The layer of the number; None if it does not belong to one layer."""
    measure: str
    """The number that is not finite: `weights` or `penalty` of the layer, or a number of the model, as `loss`."""


Outcome = Finished | Stopped | Diverged
