"""What do the specs of all trainings have in common? The penalty, the duration, and what is recorded and saved."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hsu_core.spec import plugins
from hsu_core.spec.datasets import Dataset
from hsu_core.spec.evaluate import Evaluate, Refusal
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.initial import Initial, InitialJob
from hsu_core.spec.layer_names import layer_misfits
from hsu_core.spec.measures import MEASURES, Measure
from hsu_core.spec.models import Model
from hsu_core.spec.optimizers import SGD, Optimizer
from hsu_core.spec.parametrizations import Classifier, Parametrization
from hsu_core.spec.penalties import FeaturePenalty
from hsu_core.spec.plugin_bases import PluginModel
from hsu_core.spec.regularizers import Regularizer
from hsu_core.spec.schedules import Cosine, Schedule
from hsu_core.spec.strength import Strength, has_weight, weights_of
from hsu_core.spec.task import Misfit, TaskSpec
from hsu_core.spec.values import (
    WHOLE,
    Count,
    Flag,
    Fraction,
    Patterns,
    Positive,
    Seconds,
    Seed,
    Spec,
    at_most,
    fault,
    left_out_at,
)

__all__ = [
    "Checkpoint",
    "Duration",
    "Load",
    "Metric",
    "Record",
    "TrainingSpec",
]

MOST_STEPS = 2**31 - 1
"""The largest number of optimizer steps of a training. It is the bound of `steps`, and holds for epochs too."""


class Duration(Spec):
    """How long to train: either a number of epochs or a number of steps."""

    epochs: Count | None = None
    steps: Count | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Duration:
        if (self.epochs is None) == (self.steps is None):
            raise fault("epochs", "epochs_or_steps", "give either epochs or steps, and not both")
        return self


class Record(Spec):
    """What is recorded in the energy curves. It does not depend on what the job optimises."""

    every: Count = 50
    """Steps between two points; step 0 and the last step are always recorded."""
    layers: Patterns = ("*",)
    """Names or patterns (`conv1_*`) of the layers to measure."""
    measures: Annotated[tuple[Measure, ...], Field(max_length=32), at_most(32)] = MEASURES
    l2: Annotated[Flag, left_out_at(False)] = False  # noqa: FBT003
    """Whether the L2 term is recorded as the curve `l2`: ½ Σ (weight decay · weight²) over all parameters."""
    gradient_share: Annotated[Flag, left_out_at(False)] = False  # noqa: FBT003
    """Whether the penalty's share of each layer's gradient, ‖∇ penalty‖ / (‖∇ loss‖ + ‖∇ penalty‖), is recorded as the
    curve `gradient_share`. It is that of the step's own update: 0 where the penalty does not act. Each point takes two
    more backward passes."""


class Checkpoint(Spec):
    """When the state is saved, and which checkpoints a service keeps. It is always saved at a stop and at the end."""

    every: Count | None = None
    """Steps between two checkpoints; by default only `seconds` counts."""
    seconds: Seconds | None = 600
    """Wall-clock seconds between two checkpoints: about as much work is lost if a worker is lost."""
    keep_last: Annotated[int, Field(ge=1, le=100), WHOLE] = 2
    """How many of the newest checkpoints are kept. If the newest is damaged, the one before it is used."""
    keep_best: Flag = False
    """Whether every evaluation that improves the primary metric also saves the state; the best one is kept."""


class Metric(NamedTuple):
    """A number that measures how good a trained network is."""

    name: str
    higher_is_better: bool = True


class Load(NamedTuple):
    """What a step needs on the device in addition to the network."""

    examples: int
    """Examples of one step. A feature penalty acts on as many features."""
    numbers: int
    """Input numbers of one example."""
    data: int
    """Bytes of the data set."""


class TrainingSpec(TaskSpec):
    """One training run: the data, the network, the penalty, and the duration.

    The fields here are common to all tasks that train. Each task is a subclass in its own file. It states which data
    sets and networks it accepts, and defines the members that have no value here.
    """

    of_the_start = ("initial",)
    measured: ClassVar[tuple[str, ...]]
    """Curves of the training batch, in addition to `loss`, `penalty` and `learning_rate`."""
    evaluated: ClassVar[tuple[str, ...]]
    """What an evaluation computes: curves, and numbers of the result."""
    primary: ClassVar[Metric]
    """The metric of `evaluated` that decides which checkpoint is the best."""
    selected: ClassVar[tuple[str, ...]] = ()
    """Metrics of `evaluated` that a result also has as of the evaluation with the best primary metric, as `selected_…`.
    Only where the primary metric comes from other data: a value that was selected on the test data is no test."""
    has_classes: ClassVar[bool] = True
    """Whether its examples have classes."""
    unevaluated: ClassVar[Mapping[str, Refusal]] = {}
    """Options of `evaluate` that the task cannot have, and why."""

    task: str
    dataset: Dataset
    model: Model
    regularizer: Regularizer
    strength: Annotated[Strength | None, left_out_at(None)] = None
    """How strong the regularizer is to be, relative to the loss; null: as its weights say. It multiplies them."""
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    duration: Duration
    seed: Seed = 0
    initial: Annotated[Initial | None, left_out_at(None)] = None
    """The weights to start from; null: drawn from the seed."""
    parametrization: Annotated[Parametrization | None, left_out_at(None)] = None
    """How hidden weights are bound; null: every weight is trained by itself."""
    classifier: Annotated[Classifier | None, left_out_at(None)] = None
    """What the classifier is; null: a layer that is trained."""
    clip_norm: Annotated[Positive | None, left_out_at(None)] = None
    """The largest norm of the gradient of all parameters together; a longer one is scaled down to it."""
    ema: Annotated[Fraction | None, left_out_at(None)] = None
    """Decay of an exponential moving average of the weights. Evaluations are then of the average; curves of layers are
    of the weights that are trained."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: the network runs under autocast; the penalty stays in fp32."""
    record: Record = Record()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _is_possible(self) -> TrainingSpec:
        self._check_fit()
        if isinstance(self.regularizer, FeaturePenalty):
            self._check_features(self.regularizer)
        if self.strength:
            self._check_strength()
        if self.classifier and not self.geometry.final:
            raise fault("classifier", "no_classifier", f"{self.model.kind} has no classifier that could be fixed")
        if self.parametrization and not any(self.parametrization.bound(self.geometry)):
            names = ", ".join(self.parametrization.layers)
            raise fault(
                "parametrization",
                "nothing_to_rotate",
                f"{self.model.kind} has no hidden linear layer or convolution that {names} names",
            )
        for option in self.evaluate.options:
            if refused := self.unevaluated.get(option):
                raise fault(("evaluate", option), *refused)
        if self.total_steps > MOST_STEPS:
            raise fault(
                "duration",
                "too_many_steps",
                f"a training may take {MOST_STEPS:,} steps at most, found {self.duration.epochs:,} epochs of "
                f"{self.steps_per_epoch:,}",
            )
        return self

    def _check_fit(self) -> None:
        """Raise an error if the network does not take the data, or if a plug-in's network fails to tell its layers."""
        try:
            reason = self.misfit()
            if reason is None and isinstance(self.model, PluginModel) and not self.geometry.layers:
                reason = f"{self.model.kind} has no layers for {self.dataset.kind}"
        except Exception as error:
            if not isinstance(self.model, PluginModel):
                raise
            failed = f"{type(error).__name__}: {error}"
            raise fault(
                "model", "plugin_failed", f"{self.model.kind} failed for {self.dataset.kind}: {failed}"
            ) from error
        if reason:
            raise fault("model", "model_does_not_fit", reason)

    def _check_features(self, chosen: FeaturePenalty) -> None:
        """Raise an error if a step has no features for the penalty, or does not know their classes."""
        if chosen.needs_classes and not self.has_classes:
            raise fault(
                "regularizer",
                "no_classes",
                f"{chosen.kind} needs the class of each example, and {self.task} has no classes: "
                "choose another regularizer",
            )
        if not self.geometry.final:
            raise fault(
                "regularizer",
                "no_features",
                f"{chosen.kind} acts on the inputs of the classifier, and {self.model.kind} has none: "
                "choose a regularizer of weights",
            )
        if self.load.examples == 1:
            raise fault(
                "batch_size",
                "batch_too_small",
                f"{chosen.kind} acts on the features of a batch and needs at least 2, found a batch of 1",
            )

    def _check_strength(self) -> None:
        """Raise an error if there is nothing whose strength could be set."""
        if has_weight(self.regularizer, self.geometry):
            return
        found = self.regularizer.kind if not weights_of(self.regularizer) else "weights of 0 alone"
        raise fault("strength", "no_penalty", f"strength needs a regularizer with a penalty, found {found}")

    @property
    def geometry(self) -> Geometry:
        """The layers of its network, and their sizes."""
        return self.model.geometry(self.dataset.facts)  # type: ignore[arg-type]  # each task has networks for its data

    @property
    @abstractmethod
    def load(self) -> Load:
        """What one step needs on the device in addition to the network."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the training examples."""

    def misfit(self) -> str | None:
        """Why the network does not accept the data; None if it does."""
        return None

    def indivisible(self, processes: int) -> str | None:
        """Why so many processes cannot train together, each on an equal part of every batch; None if they can."""
        return None if processes == 1 else f"{self.task} trains in one process, found {processes}: its batch is whole"

    @property
    def total_steps(self) -> int:
        """The number of optimizer steps."""
        return self.duration.steps or (self.duration.epochs or 0) * self.steps_per_epoch

    @property
    def recorded_every(self) -> int:
        """Steps between two points of its curves."""
        return self.record.every

    @property
    def evaluated_every(self) -> int:
        """Steps between two evaluations."""
        return self.evaluate.every or self.steps_per_epoch

    @property
    def required_dataset(self) -> Dataset:
        """The data set that it is trained on."""
        return self.dataset

    @property
    def plugins(self) -> dict[str, str]:
        """The distributions of the plug-ins that it uses, with their versions."""
        return plugins.used(
            (
                (plugins.TASKS, self.task),
                (plugins.DATASETS, self.dataset.kind),
                (plugins.MODELS, self.model.kind),
                (plugins.REGULARIZERS, self.regularizer.kind),
                *((plugins.MEASURES, measure) for measure in self.record.measures),
            )
        )

    @property
    def initial_checkpoint(self) -> tuple[int, int] | None:
        """The job and the step of the checkpoint whose weights it starts from."""
        return (self.initial.job, self.initial.step) if isinstance(self.initial, InitialJob) else None

    @property
    def checkpoint_policy(self) -> Checkpoint:
        """When its state is saved, and which checkpoints are kept."""
        return self.checkpoint

    def layer_misfits(self) -> Iterator[Misfit]:
        """Names of layers that the network lacks, and a penalty without a layer; nothing if all have a meaning."""
        yield from layer_misfits(self.geometry, self.regularizer, self.record.layers)

    def misfits(self, after: TaskSpec, step: int) -> Iterator[Misfit]:
        """Why another spec cannot continue from a checkpoint of this one at a step; nothing if it can."""
        if not isinstance(after, TrainingSpec) or after.task != self.task:
            yield Misfit("/task", f"the task must stay {self.task}")
            return
        if after.model != self.model:
            yield Misfit("/model", "the model must stay as it is: its weights are taken over")
        if after.parametrization != self.parametrization:
            yield Misfit("/parametrization", "the parametrization must stay as it is: so do the weights that it fixes")
        if after.classifier != self.classifier:
            yield Misfit("/classifier", "the classifier must stay as it is: its class vectors are taken over")
        if after.optimizer.kind != self.optimizer.kind:
            yield Misfit("/optimizer/kind", f"the optimizer must stay {self.optimizer.kind}: so does its state")
        if after.dataset.facts != self.dataset.facts:
            yield Misfit("/dataset", "the data must be of the same sizes as the parent's")
        if after.total_steps < step:
            yield Misfit("/duration", f"expected at least the checkpoint's {step} steps, found {after.total_steps}")
