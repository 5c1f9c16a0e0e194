"""What will a training cost, before anything is built? Parameters, operations, memory, and what its curves take.

Knows specs and the shapes of their networks. Knows no tensors (importing it costs no torch): a test holds it against
what torch itself counts. Time is another matter: that is history.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import NamedTuple

from hsu_core import spec
from hsu_core.costs import penalty_costs
from hsu_core.costs.penalty_costs import PenaltyCost

FLOAT = 4
"""Bytes of a weight, a gradient and an optimizer's number; of an activation too, but in bf16."""
PER_POOLED = 8
"""Bytes of the place of a maximum, which pooling keeps for the way back."""
PER_MODEL = 4
"""Values of a recorded step that are no layer's: loss, penalty, accuracy, learning rate."""
PER_EVALUATION = 2
"""test_loss and test_accuracy."""


class Layer(NamedTuple):
    """A linear or convolutional layer: n neurons with d inputs, at so many places of an image."""

    name: str
    n: int
    d: int
    places: int = 1
    bias: bool = False
    norm: bool = False
    relu: bool = False
    pool: bool = False

    @property
    def parameters(self) -> int:
        """Weights, a bias for each neuron, and a norm's scale and shift."""
        return self.n * (self.d + self.bias + 2 * self.norm)

    @property
    def flops(self) -> int:
        """Of one image's way forward: a multiplication and an addition for each weight and place."""
        return 2 * self.n * self.d * self.places


class Memory(NamedTuple):
    """Bytes on the device while a step is taken, without what libraries keep for themselves."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What is kept of the way forward for the way back, whole batch."""
    images: int
    """The data set, a byte a pixel and channel."""
    penalty: int
    """What the penalty keeps and passes through: Gram matrices, poles, projections."""
    measures: int
    """What recording the measures of the largest layer takes."""

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


class Costs(NamedTuple):
    """What a training will cost."""

    parameters: int
    flops: int
    """Floating-point operations of a step without the penalty, forward and backward, whole batch."""
    penalty_flops: int
    """Those of the penalty, spread over the steps at which it acts: an estimate."""
    memory: Memory
    values: int
    """Numbers that its curves will hold."""
    reports: int
    """Times that some are told together, at most: the start, each recorded step, each evaluation."""

    @property
    def penalty_share(self) -> float:
        """Part of a step that is the penalty's."""
        return self.penalty_flops / (self.flops + self.penalty_flops)


def estimate(training: spec.TrainingSpec) -> Costs:
    """What this training will cost."""
    found = layers(training.model, training.dataset.facts)
    parameters = sum(layer.parameters for layer in found)
    images = training.dataset.facts.train + training.dataset.facts.test
    terms = list(_terms(training, found))
    memory = Memory(
        weights=FLOAT * parameters,
        gradients=FLOAT * parameters,
        optimizer=FLOAT * parameters * _kept_numbers(training.optimizer),
        activations=training.batch_size * _activations(training, found),
        images=images * math.prod(training.dataset.facts.shape),
        penalty=sum(term.kept for term in terms) + max((term.passing for term in terms), default=0),
        measures=_measures(training, found),
    )
    return Costs(
        parameters,
        # Back go two products for each one forward, but that nobody asks for the gradient of the images.
        flops=training.batch_size * (3 * sum(layer.flops for layer in found) - found[0].flops),
        penalty_flops=round(sum(term.flops for term in terms) / _every(training.regularizer)),
        memory=memory,
        values=_values(training, found),
        reports=_recorded(training) + _evaluated(training),
    )


def layers(model: spec.Model, facts: spec.Facts) -> list[Layer]:
    """The layers of a network for images of these facts, in order; the last one is the classifier."""
    match model:
        case spec.MLP(hidden=hidden):
            return list(_mlp(math.prod(facts.shape), hidden, facts.classes))
        case spec.SmallCNN(width=width):
            return list(_small_cnn(facts.shape, width, facts.classes))
        case spec.CNN9():
            return list(_cnn9(facts.shape, facts.classes))


def _mlp(inputs: int, hidden: Sequence[int], classes: int) -> Iterator[Layer]:
    widths = (inputs, *hidden)
    for number, (d, n) in enumerate(pairwise(widths), start=1):
        yield Layer(f"hidden{number}", n, d, bias=True, relu=True)
    yield Layer("classifier", classes, widths[-1])


def _small_cnn(shape: tuple[int, int, int], width: int, classes: int) -> Iterator[Layer]:
    channels, height, breadth = shape
    yield Layer("conv1", width, 9 * channels, height * breadth, norm=True, pool=True)
    height, breadth = height // 2, breadth // 2
    yield Layer("conv2", 2 * width, 9 * width, height * breadth, norm=True, pool=True)
    height, breadth = height // 2, breadth // 2
    yield Layer("conv3", 2 * width, 9 * 2 * width, height * breadth, norm=True, relu=True)
    yield Layer("classifier", classes, 2 * width)


def _cnn9(shape: tuple[int, int, int], classes: int) -> Iterator[Layer]:
    channels, side, _ = shape
    for stage, width in ((1, 64), (2, 128), (3, 256)):
        for place in (1, 2, 3):
            yield Layer(f"conv{stage}_{place}", width, 9 * channels, side * side, norm=True, relu=True, pool=place == 3)
            channels = width
        side //= 2
    yield Layer("fc", 256, 16 * channels)
    yield Layer("classifier", classes, 256)


def _kept_numbers(optimizer: spec.Optimizer) -> int:
    """Numbers that the optimizer keeps for each weight."""
    return 2 if isinstance(optimizer, spec.AdamW) else int(optimizer.momentum > 0)


def _activations(training: spec.TrainingSpec, found: Sequence[Layer]) -> int:
    """Bytes that one image leaves for the way back.

    Of each layer: its output where a norm follows, that of the ReLU or of the pooling which the next one reads, what
    pooling reads where that is not the ReLU's, and the places of the maxima. Before all the image, behind all the
    logits' softmax.
    """
    numbers, places = math.prod(training.dataset.facts.shape) + training.dataset.facts.classes, 0
    for layer in found[:-1]:
        out = layer.n * layer.places
        pooled = out // 4 if layer.pool else 0
        is_pooled_first = layer.pool and not layer.relu  # as in small_cnn
        numbers += out * (layer.norm + (layer.relu or is_pooled_first or not layer.norm)) + pooled
        places += pooled
    width = 2 if training.precision == "bf16" else FLOAT
    return width * numbers + PER_POOLED * places


def _terms(training: spec.TrainingSpec, found: Sequence[Layer]) -> Iterator[PenaltyCost]:
    """What each term of the penalty takes."""
    chosen = training.regularizer
    match chosen:
        case spec.FeaturePenalty():
            yield penalty_costs.of_features(chosen, training.batch_size, found[-1].d)
        case spec.LayerPenalty():
            for layer in found:
                if _is_regularized(chosen, layer, found[-1]):
                    term = penalty_costs.of_layer(chosen, layer.n, layer.d, is_final=layer is found[-1])
                    yield term._replace(kept=term.kept + _copied(training, layer, found[-1]))


def _copied(training: spec.TrainingSpec, layer: Layer, final: Layer) -> int:
    """Bytes of the kernels as rows: a copy, as convolutions keep them channels last, unless only directions wait."""
    is_linear = isinstance(training.model, spec.MLP) or layer is final
    is_used_up = isinstance(training.regularizer, (spec.CoMHE, spec.MMA))
    return 0 if is_linear or is_used_up else FLOAT * layer.n * layer.d


def _every(chosen: spec.Regularizer) -> int:
    return 1 if isinstance(chosen, spec.NoRegularizer) else chosen.every


def _measures(training: spec.TrainingSpec, found: Sequence[Layer]) -> int:
    record = training.record
    watched = [layer for layer in found if record.measures and _is_named(layer, record.layers)]
    return max((penalty_costs.of_measures(layer.n, layer.d) for layer in watched), default=0)


def _is_regularized(chosen: spec.LayerPenalty, layer: Layer, final: Layer) -> bool:
    weight = chosen.final_weight if layer is final else chosen.hidden_weight
    factors = (factor for name, factor in chosen.layer_weights.items() if fnmatchcase(layer.name, name))
    return weight * next(factors, 1.0) > 0 and _is_named(layer, chosen.layers)


def _is_named(layer: Layer, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(layer.name, pattern) for pattern in patterns)


def _values(training: spec.TrainingSpec, found: Sequence[Layer]) -> int:
    record = training.record
    watched = sum(_is_named(layer, record.layers) for layer in found)
    chosen = training.regularizer
    searched = 0
    if isinstance(chosen, (spec.MHP, spec.MHC)):  # whose gap to a better pole is recorded
        searched = sum(_is_regularized(chosen, layer, found[-1]) for layer in found)
    of_each = PER_MODEL + watched * len(record.measures) + searched
    return _recorded(training) * of_each + _evaluated(training) * PER_EVALUATION


def _recorded(training: spec.TrainingSpec) -> int:
    return 1 + _times(training.total_steps, training.record.every)


def _evaluated(training: spec.TrainingSpec) -> int:
    return _times(training.total_steps, training.evaluate.every or training.steps_per_epoch)


def _times(total: int, every: int) -> int:
    """How often something is due that is at every k-th step and at the last one, the start not counted."""
    return math.ceil(total / every)
