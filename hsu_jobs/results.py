"""What does a job that succeeded give? The numbers of each task, and which of them lists know.

Knows no rows and no processes.
"""

from __future__ import annotations

import math
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter, create_model

from hsu_core.spec import PluginTask, plugins
from hsu_core.spec.values import left_out_at

Real = Annotated[float, PlainSerializer(lambda x: x if math.isfinite(x) else _NAMES[str(x)], when_used="json")]
"""A float that survives JSON: NaN and the infinities, which JSON lacks, are the strings that pydantic reads back."""
_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Frozen(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Device(Frozen):
    """What did the work, as its process detected it; the attempt's `device` is the slot that it was given."""

    type: Literal["cpu", "cuda"]
    name: str
    """The name of the processor or the GPU."""
    count: int
    """How many worked together; on a CPU, processes."""
    threads: int
    """Threads of each process on the CPU: resuming is bit for bit with the same number."""


class Strength(Frozen):
    """How strong the regularizer was, found for the spec's `strength` before the first update."""

    factor: Real
    """All weights of the spec's regularizer were multiplied by it."""
    weights: dict[str, Real]
    """The weights that came of it, by the names of their fields. With them in the spec, in place of `strength`, the
    training is the same."""


class Certificate(Frozen):
    """What a training was made from, with what, and what came of it: equal certificates are equal runs.

    Hashes are SHA-256 in hexadecimal. They are of values: neither the device nor the memory layout counts.
    """

    fingerprint: str
    """Of the spec, as of its job."""
    version: str
    """Of the service's distribution."""
    commit: str | None
    """Of the worker's code, with `-dirty` added if files were changed; null if it does not run from a git checkout."""
    data: str | None
    """The hash of the data set; null for a plug-in's data that cannot be hashed."""
    initial_weights: str | None
    """The hash of the network's parameters and buffers before the first update; null if the attempt resumed from a
    checkpoint of an older version, which did not tell it. Of a fork: those that it continued from."""
    first_batches: str | None
    """The hash of the first three batches as they enter the network, with their classes; null like the above."""
    final_weights: str
    """The hash of the parameters and buffers after the last update."""
    python: str
    torch: str
    numpy: str
    deterministic: bool
    """Whether torch was told to use deterministic algorithms only."""
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    float32_matmul: str
    """The precision of products of float32 matrices: `highest`, or less."""
    device: Device


class TrainingResult(Frozen):
    """What was measured after the last step of a training, whatever its task."""

    train_loss: Real
    penalty: Real
    seconds: Real
    steps_per_second: Real
    parameters: int
    """How many numbers the network has."""
    device: Device | None = None
    """Where the network was trained; null for jobs that ended before this was recorded."""
    plugins: dict[str, str] | None = None
    """The plug-ins that the spec used, each with the version that was used; null if there was none."""
    strength: Annotated[Strength | None, left_out_at(None)] = None
    """Left out unless the spec has a `strength`."""
    certificate: Annotated[Certificate | None, left_out_at(None)] = None
    """Left out of jobs that ended before there was one, and of attempts and events."""


class ClassesResult(TrainingResult):
    """What `evaluate` asks for of a network that predicts classes; null where it does not.

    Calibration is of the test set; features are the inputs of the classifier.
    """

    ece: Real | None = None
    """The expected calibration error: how far confidence is from accuracy, from 0 to 1."""
    brier: Real | None = None
    """The mean squared error of the predicted probabilities, summed over classes."""
    nll: Real | None = None
    """The mean negative log likelihood of the true classes."""
    alignment: Real | None = None
    """The mean squared distance of two normalised features of one class: from 0 to 4."""
    uniformity: Real | None = None
    """Ln of the mean of exp(−2 · squared distance) of two normalised features: from −8 to 0, lower if they spread."""
    effective_rank: Real | None = None
    """RankMe: how many dimensions the features use."""
    nc1: Real | None = None
    """Neural collapse: the scatter of features within classes, by that between classes."""
    nc2_norms: Real | None = None
    """Neural collapse: how much the norms of the centred class means differ, relative to their mean."""
    nc2_angles: Real | None = None
    """Neural collapse: how far the angles between the centred class means are from those of a simplex."""
    nc3: Real | None = None
    """Neural collapse: the squared distance of the classifier from the centred class means, both of norm 1."""
    nc4: Real | None = None
    """Neural collapse: the fraction of examples of which the network's class is not that of the nearest class mean."""
    linear_probe_accuracy: Real | None = None
    """The test accuracy of a logistic regression on the training features."""
    evaluation_seconds: Real | None = None
    """What all of this took at the end; `seconds` does not include it."""


class Attacked(Frozen):
    """The accuracy under an attack."""

    attack: str
    epsilon: Real
    """How far a pixel may move, of the range from black to white."""
    accuracy: Real


class Corrupted(Frozen):
    """The accuracy on images with a corruption."""

    corruption: str
    severity: int
    accuracy: Real


class ClassificationResult(ClassesResult):
    """How well a network tells to which class an image of the test set belongs."""

    task: Literal["classification"] = "classification"
    test_accuracy: Real
    test_loss: Real
    fgsm_accuracy: Real | None = None
    """Under FGSM with the largest ε that the spec asks for."""
    pgd_accuracy: Real | None = None
    """Under PGD with the largest ε that the spec asks for."""
    corruption_accuracy: Real | None = None
    """The mean over the corruptions and severities that the spec asks for."""
    adversarial: tuple[Attacked, ...] | None = None
    """For each attack and each ε; null if the spec asks for none."""
    corruptions: tuple[Corrupted, ...] | None = None
    """For each corruption and each severity; null if the spec asks for none."""


class NodesResult(ClassesResult):
    """How well a network tells the classes of a graph's nodes that it was not told."""

    task: Literal["nodes"] = "nodes"
    test_accuracy: Real
    test_loss: Real
    validation_accuracy: Real
    validation_loss: Real
    selected_test_accuracy: Real
    """The test accuracy at the evaluation with the best validation accuracy: what papers with early stopping report."""


class TextsResult(ClassesResult):
    """How well a network tells to which class a text of the test set belongs."""

    task: Literal["texts"] = "texts"
    test_accuracy: Real
    test_loss: Real


class RecommendationResult(TrainingResult):
    """How well items are recommended that their users came to later."""

    task: Literal["recommendation"] = "recommendation"
    recall_at_20: Real
    """Of a user's held-out items, the fraction among the 20 that are ranked first; the mean over users."""
    ndcg_at_20: Real
    """The same, each hit counted by its rank: the discounted gain by the best that is possible."""


class BestKnown(Frozen):
    """The best known value for as many points on this sphere."""

    value: Real
    source: str
    is_proven: bool


class PointsResult(Frozen):
    """The best configuration of all starts, and its value."""

    task: Literal["points"] = "points"
    value: Real
    """The objective's value, for polarization and covering that at the worst pole."""
    best_known: BestKnown | None
    gap: Real | None
    """How much worse the value is than the best known one, in its unit; negative if it is better."""
    inner: str | None
    """How the worst pole was found, for polarization and covering; `descents`: there may be a worse one."""
    values: tuple[Real, ...]
    """The value of each start."""
    points: tuple[tuple[float, ...], ...] | None
    """Unit vectors, each number the nearest to a float64; null in lists of jobs and in attempts."""
    device: Device | None = None
    """Where the points were placed, a CPU also if the slot has a GPU; null for jobs that ended before this was
    recorded."""


class Answers(Frozen):
    """Which examples of a test set a network classified right."""

    count: Annotated[int, Field(ge=1)]
    """The examples of the test set."""
    bits: Base64Bytes
    """One bit each, in the order of the test set: the most significant bit of a byte first, padded with zeros."""


Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class TrackedResult(Frozen):
    """What the loop of a tracked run reported at its end."""

    task: Literal["tracked"] = "tracked"
    values: Annotated[dict[Label, Real], Field(max_length=1000)] = {}


def _result_of(task: type[PluginTask]) -> type[TrainingResult]:
    """The result of a plug-in's task: what its evaluation gives."""
    (kind,) = get_args(task.model_fields["task"].annotation)
    numbers = (*task.evaluated, *(f"selected_{name}" for name in task.selected))
    fields: dict[str, Any] = dict.fromkeys(numbers, (Real, ...)) | {"task": (Literal[kind], kind)}
    base = ClassesResult if task.has_classes else TrainingResult
    doc = f"What the task {kind} evaluates."
    return create_model(f"{task.__name__}Result", __base__=base, __doc__=doc, **fields)


_BuiltInResult = ClassificationResult | NodesResult | TextsResult | RecommendationResult | PointsResult | TrackedResult
if TYPE_CHECKING:
    AnyResult = _BuiltInResult
else:
    AnyResult = Union[(*get_args(_BuiltInResult), *plugins.derived(plugins.TASKS, _result_of))]
Result = Annotated[AnyResult, Field(discriminator="task")]
RESULT: TypeAdapter[AnyResult] = TypeAdapter(Result)


def _numbers(result: type[BaseModel], *, always: bool) -> list[str]:
    """The fields that hold one number, or null in its place: those of every result, or those a spec asks for."""
    fields = result.model_fields.items()
    return [name for name, field in fields if _is_number(field.annotation) and field.is_required() == always]


def _is_number(annotation: object) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_number, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    return annotation in (int, float)


METRICS = tuple(
    dict.fromkeys(
        name for always in (True, False) for result in get_args(AnyResult) for name in _numbers(result, always=always)
    )
)
"""What lists filter and sort by: every number of a result, those that every result has and those of trainings first."""


def numbers_of(task: str) -> tuple[str, ...]:
    """The numbers that a result of a task has, or has if the spec asks for them."""
    result = next(each for each in get_args(AnyResult) if each.model_fields["task"].default == task)
    return tuple(name for always in (True, False) for name in _numbers(result, always=always))
