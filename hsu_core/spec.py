"""What may be asked of the trainer: one frozen tree of values, the same over HTTP, in files, in Python, in Postgres.

Knows names, ranges and what fits with what. Knows no tensors (importing it costs no torch) and no files.
Every union is discriminated by `kind`, and an unknown key is an error with a path.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Spec(BaseModel):
    """A frozen value that rejects keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# --- data sets -------------------------------------------------------------------------------------------------------


class Facts(NamedTuple):
    """What is known of a data set before a file is opened."""

    shape: tuple[int, int, int]
    """Channels, height, width of one image."""
    classes: int
    train: int
    """Number of training images."""
    test: int


class Digits(Spec):
    """scikit-learn's 8×8 handwritten digits (UCI Optical Recognition of Handwritten Digits): bundled, always there."""

    kind: Literal["digits"] = "digits"
    facts: ClassVar[Facts] = Facts(shape=(1, 8, 8), classes=10, train=1437, test=360)


class MNIST(Spec):
    """LeCun, Cortes and Burges' handwritten digits, 28×28, from the idx files."""

    kind: Literal["mnist"] = "mnist"
    facts: ClassVar[Facts] = Facts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class FashionMNIST(Spec):
    """Zalando's articles of clothing, 28×28, from the idx files (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747)."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"
    facts: ClassVar[Facts] = Facts(shape=(1, 28, 28), classes=10, train=60_000, test=10_000)


class CIFAR10(Spec):
    """Krizhevsky's colour images, 32×32, 10 classes, from the binary records."""

    kind: Literal["cifar10"] = "cifar10"
    facts: ClassVar[Facts] = Facts(shape=(3, 32, 32), classes=10, train=50_000, test=10_000)


class CIFAR100(Spec):
    """Krizhevsky's colour images, 32×32, 100 fine classes, from the binary records."""

    kind: Literal["cifar100"] = "cifar100"
    facts: ClassVar[Facts] = Facts(shape=(3, 32, 32), classes=100, train=50_000, test=10_000)


Dataset = Annotated[Digits | MNIST | FashionMNIST | CIFAR10 | CIFAR100, Field(discriminator="kind")]


# --- models ----------------------------------------------------------------------------------------------------------


class MLP(Spec):
    """Linear layers with ReLU between them; takes an image of any size, flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Count, ...], Field(max_length=32)] = (256, 128)
    """Widths of the hidden layers, first to last."""

    @property
    def narrowest(self) -> int | None:
        """Neurons in the smallest hidden layer, if there is one."""
        return min(self.hidden, default=None)

    def misfit(self, _shape: tuple[int, int, int]) -> None:
        """Nothing: an MLP takes every image."""


class SmallCNN(Spec):
    """Three 3×3 convolutions with batch norm, two poolings and a classifier: for images of 8×8 to 28×28."""

    kind: Literal["small_cnn"] = "small_cnn"
    width: Count = 16
    """Channels of the first convolution; the second and third have twice as many."""

    @property
    def narrowest(self) -> int:
        """Neurons in the smallest hidden layer."""
        return self.width

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit, or nothing."""
        if min(shape[1:]) >= 8 and max(shape[1:]) <= 28:
            return None
        return f"small_cnn takes images of 8×8 to 28×28 pixels, these have {shape[1]}×{shape[2]}"


class CNN9(Spec):
    """The authors' network (Liu et al. 2021, app. A): three times three 3×3 convolutions with batch norm, a 4×4
    convolution to 256 features, a linear classifier. 2,995,520 parameters with 100 classes.
    """  # noqa: D205

    kind: Literal["cnn9"] = "cnn9"
    narrowest: ClassVar[int] = 64
    """Neurons in the smallest hidden layer."""

    def misfit(self, shape: tuple[int, int, int]) -> str | None:
        """Why images of this shape do not fit, or nothing."""
        if shape[1:] == (32, 32):
            return None
        return f"cnn9 takes images of 32×32 pixels, these have {shape[1]}×{shape[2]}"


Model = Annotated[MLP | SmallCNN | CNN9, Field(discriminator="kind")]


# --- regularizers ----------------------------------------------------------------------------------------------------


class NoRegularizer(Spec):
    """No penalty: the baseline. Weight decay is the optimizer's."""

    kind: Literal["none"] = "none"


class Weighted(Spec):
    """How much a penalty weighs in the loss, and where it acts."""

    hidden_weight: NonNegative
    final_weight: NonNegative
    half_space: bool = True
    """Also repel from the mirror images −x. Hidden layers only, never the classifier."""


class MHE(Weighted):
    """Minimum hyperspherical energy: neurons repel each other like charges (Liu et al. 2018, arXiv 1805.09298)."""

    kind: Literal["mhe"] = "mhe"
    s: Annotated[float, Field(ge=0, le=64, allow_inf_nan=False)] = 2.0
    """Riesz exponent; 0 is the logarithmic energy."""
    angular: bool = False
    """Repel by the angle, in units of π, in place of the Euclidean distance."""
    hidden_weight: NonNegative = 1.0
    """Weight of each hidden layer's energy; the authors use 1 (0.1 for angular s = 1, 2)."""
    final_weight: NonNegative = 10.0
    """Weight of the classifier's energy; the authors use 10 (1 for angular s = 1, 2)."""


class MHS(Weighted):
    """Maximum hyperspherical separation: the closest pair is pushed apart (Liu et al. 2021, sec. 4)."""

    kind: Literal["mhs"] = "mhs"
    hidden_weight: NonNegative = 0.1
    """Weight of each hidden layer's term; the authors use 0.1."""
    final_weight: NonNegative = 1.0
    """Weight of the classifier's term; the authors use 1."""


Regularizer = Annotated[NoRegularizer | MHE | MHS, Field(discriminator="kind")]


# --- how to train ----------------------------------------------------------------------------------------------------


class SGD(Spec):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 0.03
    momentum: Fraction = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 5e-4

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise _fault("momentum", "nesterov_without_momentum", "nesterov needs a momentum above 0, found 0")
        return self


class AdamW(Spec):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegative = 1e-2


Optimizer = Annotated[SGD | AdamW, Field(discriminator="kind")]


class Constant(Spec):
    """The learning rate stays."""

    kind: Literal["constant"] = "constant"


class StepDecay(Spec):
    """The learning rate is multiplied by `gamma` at each milestone."""

    kind: Literal["step"] = "step"
    milestones: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=64)] = (0.4, 0.7, 0.9)
    """Fractions of the whole training, ascending."""
    gamma: Positive = 0.1

    @model_validator(mode="after")
    def _ascending(self) -> StepDecay:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise _fault("milestones", "not_ascending", f"milestones must ascend, found {list(self.milestones)}")
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
            raise _fault("epochs", "epochs_or_steps", "give either epochs or steps, not both and not neither")
        return self


Measure = Literal[
    "mhe_s0", "mhe_s1", "mhe_s2", "mhe_a0", "mhe_a1", "mhe_a2",
    "mhe_s0_half", "mhe_s1_half", "mhe_s2_half", "mhe_a0_half", "mhe_a1_half", "mhe_a2_half",
    "separation", "min_angle", "resultant_length", "coherence",
]  # fmt: skip
MEASURES: tuple[Measure, ...] = Measure.__args__  # type: ignore[attr-defined]


class Record(Spec):
    """What is written to the energy curves, whatever the job optimises."""

    every: Count = 50
    """Steps between two points; step 0 and the last step are always recorded."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Names or patterns (`conv1_*`) of the layers to measure."""
    measures: tuple[Measure, ...] = MEASURES

    def wants(self, layer: str) -> bool:
        """Whether a layer of this name is measured."""
        return any(fnmatchcase(layer, pattern) for pattern in self.layers)


class Evaluate(Spec):
    """When the test set is looked at; it always is at the end."""

    every: Count | None = None
    """Steps between two evaluations; by default one follows every epoch."""


class Checkpoint(Spec):
    """When the state is saved; it always is at the end."""

    every: Count | None = None
    """Steps between two checkpoints; by default there is only the last one."""


class TrainingSpec(Spec):
    """One training run: the data, the network, the penalty, and how long."""

    task: Literal["classification"] = "classification"
    dataset: Dataset
    model: Model
    regularizer: Regularizer
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    duration: Duration
    batch_size: Count = 128
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: the network runs under autocast; the penalty stays in fp32."""
    record: Record = Record()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainingSpec:
        facts = self.dataset.facts
        if self.batch_size > facts.train:
            raise _fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {facts.train} training images, found a batch of {self.batch_size}",
            )
        if reason := self.model.misfit(facts.shape):
            raise _fault("model", "model_does_not_fit", reason)
        if self.model.narrowest == 1 and self.regularizer.kind != "none":
            raise _fault(
                "model",
                "nothing_to_spread",
                f"{self.regularizer.kind} needs at least 2 neurons a layer, found a layer of 1",
            )
        return self

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set; what is left over waits for the next epoch's order."""
        return self.dataset.facts.train // self.batch_size

    @property
    def total_steps(self) -> int:
        """Optimizer steps from the first to the last."""
        return self.duration.steps or (self.duration.epochs or 0) * self.steps_per_epoch


def _fault(field: str, code: str, message: str) -> ValidationError:
    """An error that pydantic merges into the surrounding one, with a path to `field`."""
    error = PydanticCustomError(code, "{message}", {"message": message})
    return ValidationError.from_exception_data("Spec", [InitErrorDetails(type=error, loc=(field,), input=None)])
