"""Which of the options does a spec ask for, and what do they give? Numbers by name, and tables.

All ranks return the same: the work is dealt out among them and the counts are added up. Nothing here depends on how a
run was interrupted: random numbers depend on the spec's seed and on the place in the test set alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from hsu_core import spec
from hsu_core.evaluations import attacks, calibration, corruptions, features
from hsu_core.evaluations.passes import Interrupted, Seen, Turns, evaluating, seen
from hsu_core.ranks import World
from hsu_core.regularizers.layers import Layer, layers
from hsu_core.tasks import Task
from hsu_core.tasks.classification import Classification

Row = dict[str, str | float]
LIBRARIES = {"calibration": ("torchmetrics", "torchmetrics"), "attacks": ("art", "adversarial-robustness-toolbox")}
"""The module that an option needs, and the package with it."""


class Found(NamedTuple):
    """What was measured."""

    metrics: dict[str, float]
    tables: dict[str, list[Row]]
    """`adversarial` with a row for each attack and ε, `corruptions` with one for each corruption and severity."""
    seconds: float = 0.0


NOTHING = Found({}, {})


def require(evaluate: spec.Evaluate) -> None:
    """Check, before a training begins, that the libraries of its evaluation are installed. ModuleNotFoundError."""
    for option in evaluate.options:
        module, package = LIBRARIES.get(option, (None, None))
        if module and find_spec(module) is None:
            raise ModuleNotFoundError(f"evaluate.{option} needs {package}: install hsu-service[evaluate]")


def at_the_end(
    training: spec.TrainingSpec,
    task: Task[Any, Any],
    *,
    world: World,
    should_stop: Callable[[], bool],
) -> Found | None:
    """Measure what the spec asks for; None if asked to stop before all is measured.

    The task's model is in training mode again afterwards. Every rank calls this, and only the first one's `should_stop`
    is asked.
    """
    if not training.evaluate.options:
        return NOTHING
    began, turns = time.monotonic(), Turns(world, should_stop)
    try:
        with evaluating(task.model):
            found = _measured(training, task, turns)
    except Interrupted:
        return None
    seconds = time.monotonic() - began
    return found._replace(metrics=found.metrics | {"evaluation_seconds": seconds}, seconds=seconds)


def _measured(training: spec.TrainingSpec, task: Task[Any, Any], turns: Turns) -> Found:
    asked, metrics, tables = training.evaluate, dict[str, float](), dict[str, list[Row]]()
    if asked.calibration or asked.features:
        metrics |= _of_outputs(asked, task, _classifier(training, task), turns)
    if asked.attacks:
        tables["adversarial"] = attacks.accuracies(asked.attacks, _images(task), seed=training.seed, turns=turns)
        metrics |= attacks.summary(tables["adversarial"])
    if asked.corruptions:
        cells = corruptions.accuracies(asked.corruptions, _images(task), seed=training.seed, turns=turns)
        tables["corruptions"], metrics["corruption_accuracy"] = cells, corruptions.summary(cells)
    return Found(metrics, tables)


def _of_outputs(asked: spec.Evaluate, task: Task[Any, Any], classifier: Layer, turns: Turns) -> dict[str, float]:
    """What follows from one pass over the examples: calibration, and measures of features."""
    needed = {"test"} if asked.calibration else set()
    if asked.features:
        needed |= {asked.features.of} | ({"test", "train"} if "linear_probe" in asked.features.measures else set())
    parts: dict[str, Seen] = {part: seen(task, part, classifier, turns) for part in sorted(needed)}
    metrics = calibration.measure(asked.calibration, parts["test"]) if asked.calibration else {}
    return metrics | (features.measure(asked.features, parts, classifier.points()) if asked.features else {})


def _classifier(training: spec.TrainingSpec, task: Task[Any, Any]) -> Layer:
    final = training.geometry.final
    assert final is not None  # every network with classes has one
    return next(layer for layer in layers(task.model, final={final.name}) if layer.is_final)


def _images(task: Task[Any, Any]) -> Classification:
    assert isinstance(task, Classification)  # the spec refuses it of others
    return task
