"""What does an option of `evaluate` cost, once after the last step? Examples through the network, and operations.

Knows specs and the geometry of networks. Knows no tensors (importing it does not load torch). Of a graph every node
passes, whichever are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, assert_never

from hsu_core import spec
from hsu_core.spec.evaluate import PROBE_STEPS

SVD = 10
"""Multiplications of the singular values of an (n, d) matrix, by n·d·min(n, d): an estimate."""


class EvaluationCost(NamedTuple):
    """The cost of one option."""

    option: str
    forwards: int
    """Examples that go through the network, each time that one does."""
    backwards: int
    """Those of them through which a gradient goes back to the pixels."""
    flops: int
    """Floating-point operations of these and of the measures: an estimate, for the linear probe an upper bound."""


def of_options(training: spec.TrainingSpec) -> Iterator[EvaluationCost]:
    """Each option of the spec, in order. Options that need the same pass share it; here each counts it."""
    asked = training.evaluate
    if asked.calibration:
        yield _passes(training, "calibration", _passed(training, "test"))
    if attacks := asked.attacks:
        count = attacks.examples or training.dataset.facts.test
        cells = len(attacks.methods) * len(attacks.epsilons)
        gradients = sum(map(_gradients, attacks.methods)) * sum(epsilon > 0 for epsilon in attacks.epsilons)
        yield _passes(training, "attacks", count * (cells + gradients), backwards=count * gradients)
    if asked.corruptions:
        cells = len(asked.corruptions.kinds) * len(asked.corruptions.severities)
        yield _passes(training, "corruptions", cells * training.dataset.facts.test)
    if asked.features:
        yield _features(training, asked.features)


def _gradients(method: spec.FGSM | spec.PGD) -> int:
    """Gradients for one image and one ε."""
    match method:
        case spec.FGSM():
            return 1
        case spec.PGD(steps=steps):
            return steps
        case _:
            assert_never(method)


def _passes(
    training: spec.TrainingSpec, option: str, forwards: int, *, backwards: int = 0, further: int = 0
) -> EvaluationCost:
    """A backward pass to the pixels costs as much as a forward pass: the weights need no gradient."""
    forward = training.geometry.forward_flops
    return EvaluationCost(option, forwards, backwards, (forwards + backwards) * forward + further)


def _features(training: spec.TrainingSpec, asked: spec.Features) -> EvaluationCost:
    final = training.geometry.final
    assert final is not None  # a spec without a classifier takes no features
    parts = {asked.of} | ({"train", "test"} if "linear_probe" in asked.measures else set())
    facts = training.dataset.facts
    n = facts.test if asked.of == "test" else facts.train
    further = {
        "alignment": 3 * n * final.dimension,
        "uniformity": 2 * n * n * final.dimension,
        "effective_rank": SVD * n * final.dimension * min(n, final.dimension),
        "neural_collapse": 4 * n * final.dimension * final.out,
        "linear_probe": 4 * PROBE_STEPS * facts.train * final.dimension * final.out,
    }
    forwards = sum(_passed(training, part) for part in parts)
    return _passes(training, "features", forwards, further=sum(further[name] for name in asked.measures))


def _passed(training: spec.TrainingSpec, part: str) -> int:
    """Examples that go through the network in one pass over a part."""
    facts = training.dataset.facts
    if isinstance(facts, spec.GraphFacts):
        return facts.nodes
    return facts.train if part == "train" else facts.test
