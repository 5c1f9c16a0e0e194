"""What is one training run? The data, the network, the penalty, how long, and what is written down meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.datasets import Dataset
from hsu_core.spec.models import Model
from hsu_core.spec.penalties import FeaturePenalty
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.task import Misfit, TaskSpec
from hsu_core.spec.values import (
    WHOLE,
    Count,
    Flag,
    Fraction,
    NonNegative,
    Patterns,
    Positive,
    Real,
    Seconds,
    Seed,
    Spec,
    at_most,
    fault,
)

__all__ = [
    "MEASURES",
    "SGD",
    "AdamW",
    "Checkpoint",
    "Constant",
    "Cosine",
    "Duration",
    "Evaluate",
    "Measure",
    "Optimizer",
    "Record",
    "Schedule",
    "StepDecay",
    "TrainingSpec",
]

MOST_STEPS = 2**31 - 1
"""Optimizer steps of one training: as many as `steps` may ask for, also where epochs are counted."""


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


Optimizer = Annotated[SGD | AdamW, Field(discriminator="kind")]


class Constant(Spec):
    """The learning rate stays."""

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
    """Fraction of the whole training in which the rate first rises linearly from 0."""


Schedule = Annotated[Constant | StepDecay | Cosine, Field(discriminator="kind")]


class Duration(Spec):
    """How long to train: a number of epochs or a number of steps, one of the two."""

    epochs: Count | None = None
    steps: Count | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Duration:
        if (self.epochs is None) == (self.steps is None):
            raise fault("epochs", "epochs_or_steps", "give either epochs or steps, not both and not neither")
        return self


Measure = Literal[
    "mhe_s0", "mhe_s1", "mhe_s2", "mhe_a0", "mhe_a1", "mhe_a2",
    "mhe_s0_half", "mhe_s1_half", "mhe_s2_half", "mhe_a0_half", "mhe_a1_half", "mhe_a2_half",
    "separation", "min_angle", "resultant_length", "coherence", "log_det", "effective_rank", "covering",
]  # fmt: skip
MEASURES: tuple[Measure, ...] = Measure.__args__  # type: ignore[attr-defined]


class Record(Spec):
    """What is written to the energy curves, whatever the job optimises."""

    every: Count = 50
    """Steps between two points; step 0 and the last step are always recorded."""
    layers: Patterns = ("*",)
    """Names or patterns (`conv1_*`) of the layers to measure."""
    measures: Annotated[tuple[Measure, ...], Field(max_length=32), at_most(32)] = MEASURES


class Evaluate(Spec):
    """When the test set is looked at; it always is at the end."""

    every: Count | None = None
    """Steps between two evaluations; by default one follows every epoch."""


class Checkpoint(Spec):
    """When the state is saved, beside at a stop and at the end, where it always is; and what a service keeps of it."""

    every: Count | None = None
    """Steps between two checkpoints; by default only the clock decides."""
    seconds: Seconds | None = 600
    """Wall-clock seconds between two checkpoints: about what a lost worker costs."""
    keep_last: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """How many of the newest checkpoints are kept; the one before the last is there if the last is damaged."""
    keep_best: Flag = False
    """Whether every evaluation that raises test_accuracy is saved too, and the best one kept."""


class TrainingSpec(TaskSpec):
    """One training run: the data, the network, the penalty, and how long."""

    task: Literal["classification"] = "classification"
    dataset: Dataset
    model: Model
    regularizer: Regularizer
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    duration: Duration
    batch_size: Count = 128
    augment: Literal["none", "crop_flip"] = "none"
    """crop_flip: each training image is moved by up to an eighth of its side (4 pixels of 32, as in the usual CIFAR
    recipe; 3 of 28; 1 of 8) and mirrored left to right half of the time. Mirrored digits are no digits: it is meant
    for photographs and clothes."""
    seed: Seed = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: the network runs under autocast; the penalty stays in fp32."""
    record: Record = Record()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainingSpec:
        facts = self.dataset.facts
        if self.batch_size > facts.train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {facts.train} training images, found a batch of {self.batch_size}",
            )
        if isinstance(self.regularizer, FeaturePenalty) and self.batch_size == 1:
            raise fault(
                "batch_size",
                "batch_too_small",
                f"{self.regularizer.kind} spreads the features of a batch and needs at least 2, found a batch of 1",
            )
        if reason := self.model.misfit(facts.shape):
            raise fault("model", "model_does_not_fit", reason)
        if self.total_steps > MOST_STEPS:
            raise fault(
                "duration",
                "too_many_steps",
                f"a training may take {MOST_STEPS:,} steps at most, found {self.duration.epochs:,} epochs of "
                f"{self.steps_per_epoch:,}",
            )
        return self

    def indivisible(self, processes: int) -> str | None:
        """Why so many processes cannot train together, each on an equal part of every batch; None if they can."""
        if self.batch_size % processes == 0:
            return None
        return f"batch_size: expected a multiple of the {processes} processes, found {self.batch_size}"

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set; what is left over waits for the next epoch's order."""
        return self.dataset.facts.train // self.batch_size

    @property
    def total_steps(self) -> int:
        """Optimizer steps from the first to the last."""
        return self.duration.steps or (self.duration.epochs or 0) * self.steps_per_epoch

    @property
    def recorded_every(self) -> int:
        """Steps between two points of its curves."""
        return self.record.every

    @property
    def required_dataset(self) -> Dataset:
        """The data set that it is trained on."""
        return self.dataset

    @property
    def checkpoint_policy(self) -> Checkpoint:
        """When its state is saved, and what is kept of it."""
        return self.checkpoint

    def misfits(self, after: TaskSpec, step: int) -> Iterator[Misfit]:
        """What keeps another spec from going on from a checkpoint of this one at a step; nothing if it can."""
        if not isinstance(after, TrainingSpec) or after.task != self.task:
            yield Misfit("/task", f"the task must stay {self.task}")
            return
        if after.model != self.model:
            yield Misfit("/model", "the model must stay as it is: its weights are taken over")
        if after.optimizer.kind != self.optimizer.kind:
            yield Misfit("/optimizer/kind", f"the optimizer must stay {self.optimizer.kind}: so does its state")
        if after.dataset.facts != self.dataset.facts:
            yield Misfit("/dataset", "images and classes must be as many and as large as the parent's")
        if after.total_steps < step:
            yield Misfit("/duration", f"expected at least the checkpoint's {step} steps, found {after.total_steps}")
