"""What will a training cost, before anything is built? Parameters, operations, memory, and the size of its curves.

Knows specs and the geometry of their networks. Knows no tensors (importing it does not load torch): a test compares it
with torch's own counts. Does not know how long a step takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, assert_never

from hsu_core import spec
from hsu_core.costs import evaluation_costs, penalty_costs
from hsu_core.costs.evaluation_costs import EvaluationCost
from hsu_core.costs.penalty_costs import PenaltyCost
from hsu_core.spec import Geometry, Layer

FLOAT = 4
"""Bytes of a weight, a gradient and an optimizer's number; also of an activation, except in bf16."""
PER_POOLED = 8
"""Bytes of the index of a maximum, which pooling keeps for the backward pass."""
PER_MODEL = 3
"""Values of a recorded step for the whole model, for every task: loss, penalty, learning rate."""


class Memory(NamedTuple):
    """Bytes on the device during a step, without the libraries' own memory."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Kept in the forward pass for the backward pass, for the whole batch."""
    data: int
    """The data set."""
    penalty: int
    """The penalty's kept and temporary memory: Gram matrices, poles, projections."""
    measures: int
    """Needed to record the measures of the largest layer."""

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(self)


class Costs(NamedTuple):
    """What a training will cost."""

    parameters: int
    flops: int
    """Floating-point operations of a step without the penalty, forward and backward, for the whole batch."""
    penalty_flops: int
    """Operations of the penalty, averaged over the steps: an estimate."""
    memory: Memory
    values: int
    """Number of values in its curves."""
    reports: int
    """How often values are reported, at most: at the start, at each recorded step, at each evaluation."""
    evaluation: tuple[EvaluationCost, ...] = ()
    """Of each option of `evaluate`, once after the last step."""
    strength_flops: int = 0
    """Operations that find the factor of the penalty's weights, once before the first step: an estimate."""

    @property
    def penalty_share(self) -> float:
        """Fraction of a step's operations that the penalty takes."""
        return self.penalty_flops / (self.flops + self.penalty_flops)


def estimate(training: spec.TrainingSpec) -> Costs:
    """What this training will cost."""
    network, load = training.geometry, training.load
    parameters = _parameters(training, network)
    terms = list(_terms(training, network))
    memory = Memory(
        weights=FLOAT * parameters.all * (1 + (training.ema is not None)),
        gradients=FLOAT * parameters.trained * (3 if training.record.gradient_share else 1),
        optimizer=FLOAT * _kept_numbers(training, network, parameters),
        activations=load.examples * _activations(training, network),
        data=load.data,
        penalty=sum(term.kept for term in terms) + max((term.passing for term in terms), default=0),
        measures=_measures(training, network),
    )
    rotating = training.parametrization.flops(network) if training.parametrization else 0
    flops = load.examples * network.flops + 2 * network.per_step_flops + 3 * rotating
    return Costs(
        parameters.all,
        flops=flops,
        penalty_flops=round(sum(term.flops for term in terms) / training.regularizer.every),
        memory=memory,
        values=_values(training, network),
        reports=_recorded(training) + _evaluated(training),
        evaluation=tuple(evaluation_costs.of_options(training)),
        strength_flops=_strength(training, flops=flops, of_penalty=sum(term.flops for term in terms)),
    )


def _strength(training: spec.TrainingSpec, *, flops: int, of_penalty: int) -> int:
    """A forward pass and two backward passes a batch; the second one is the penalty's, through the features or not."""
    if training.strength is None:
        return 0
    through = 2 * flops // 3 if isinstance(training.regularizer, spec.FeaturePenalty) else 0
    return training.strength.batches * (flops + through + of_penalty)


class _Parameters(NamedTuple):
    """Of a network as its spec binds it."""

    all: int
    trained: int


def _parameters(training: spec.TrainingSpec, network: Geometry) -> _Parameters:
    """Those that are fixed get no gradient, and a rotation of fixed neurons has its own."""
    added = fixed = 0
    if how := training.parametrization:
        added = how.parameters(network)
        fixed += sum(layer.out * layer.dimension for layer in how.bound(network))
    if training.classifier and network.final:
        fixed += network.final.out * (network.final.dimension + network.final.bias)
    return _Parameters(network.parameters + added, network.parameters + added - fixed)


def _kept_numbers(training: spec.TrainingSpec, network: Geometry, parameters: _Parameters) -> int:
    """Numbers that the optimizer keeps."""
    match training.optimizer:
        case spec.SGD(momentum=momentum):
            return parameters.trained * (momentum > 0)
        case spec.AdamW() | spec.Adam():
            return parameters.trained * 2
        case spec.Muon():
            bound = set(training.parametrization.bound(network)) if training.parametrization else set()
            free = (each for each in network.layers if each not in bound and not each.is_final)
            matrices = sum(each.out * each.dimension for each in free if each.kind != "embedding")
            return 2 * parameters.trained - matrices
        case _:
            assert_never(training.optimizer)


def _activations(training: spec.TrainingSpec, network: Geometry) -> int:
    """Bytes that one example needs for the backward pass: the example itself, and what is kept after each layer.

    The last layer's outputs are kept as the logits' softmax.
    """
    numbers, places = training.load.numbers + network.other_kept, 0
    for layer in network.layers:
        own = _kept_behind(layer)
        numbers, places = numbers + own.numbers, places + own.places
    width = 2 if training.precision == "bf16" else FLOAT
    return width * numbers + PER_POOLED * places


class _Kept(NamedTuple):
    """What is kept after one layer for the backward pass."""

    numbers: int
    places: int
    """Indices of maxima."""


def _kept_behind(layer: Layer) -> _Kept:
    """A norm, a pool and the next layer keep their inputs, a ReLU its output; no tensor is kept twice.

    A pool also keeps the indices of the maxima.
    """
    size = layer.positions * (layer.inputs if layer.kind == "embedding" else layer.out)
    numbers = places = 0
    is_kept = False
    for operation in layer.then:
        match operation:
            case "norm":
                numbers, is_kept = numbers + (0 if is_kept else size), False
            case "relu":
                numbers, is_kept = numbers + size, True
            case "pool":
                numbers, is_kept = numbers + (0 if is_kept else size), False
                size //= 4
                places += size
            case _:
                assert_never(operation)
    return _Kept(numbers if is_kept else numbers + size, places)


def _terms(training: spec.TrainingSpec, network: Geometry) -> Iterator[PenaltyCost]:
    """The cost of each term of the penalty."""
    chosen = training.regularizer
    match chosen:
        case spec.NoRegularizer():
            return
        case spec.FeaturePenalty():
            assert network.final is not None  # a spec without a classifier takes no penalty of features
            yield penalty_costs.feature_term(
                chosen, training.load.examples, network.final.dimension, classes=network.final.out
            )
        case spec.LayerPenalty():
            for layer in _regularized(chosen, network):
                term = penalty_costs.layer_term(chosen, layer.out, layer.dimension, is_final=layer.is_final)
                # Kernels are copied to be points, since they are stored channels last.
                copied = FLOAT * layer.out * layer.dimension if layer.kind == "conv" and term.keeps_points else 0
                yield term._replace(kept=term.kept + copied)
        case _:
            assert_never(chosen)


def _regularized(chosen: spec.LayerPenalty, network: Geometry) -> list[Layer]:
    """The layers that the penalty acts on."""
    weights = spec.layer_weights(chosen, network)
    return [layer for layer in network.layers if layer.name in weights]


def _measures(training: spec.TrainingSpec, network: Geometry) -> int:
    watched = _watched(training, network) if training.record.measures else []
    return max((penalty_costs.measures(layer.out, layer.dimension) for layer in watched), default=0)


def _watched(training: spec.TrainingSpec, network: Geometry) -> list[Layer]:
    """The layers that are measured."""
    named = spec.matching(training.record.layers, network.names)
    return [layer for layer in network.layers if layer.name in named]


def _values(training: spec.TrainingSpec, network: Geometry) -> int:
    chosen = training.regularizer
    # The gap to a better pole is recorded too.
    searched = len(_regularized(chosen, network)) if isinstance(chosen, spec.PolePenalty) else 0
    of_each_layer = len(training.record.measures) + training.record.gradient_share
    of_layers = len(_watched(training, network)) * of_each_layer + searched
    of_each = PER_MODEL + len(training.measured) + training.record.l2 + of_layers
    return _recorded(training) * of_each + _evaluated(training) * len(training.evaluated)


def _recorded(training: spec.TrainingSpec) -> int:
    return 1 + _times(training.total_steps, training.record.every)


def _evaluated(training: spec.TrainingSpec) -> int:
    return _times(training.total_steps, training.evaluated_every)


def _times(total: int, every: int) -> int:
    """The number of events at every k-th step and at the last one, without the start."""
    return math.ceil(total / every)
