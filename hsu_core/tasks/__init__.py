"""Which task does a spec ask for? The one place that knows them all: a new one is a file and an entry in `TASKS`."""

from __future__ import annotations

from typing import Any

import torch

from hsu_core import spec
from hsu_core.ranks import ALONE, World
from hsu_core.spec import plugins
from hsu_core.tasks.classification import Classification
from hsu_core.tasks.nodes import Nodes
from hsu_core.tasks.recommendation import Recommendation
from hsu_core.tasks.task import Task
from hsu_core.tasks.texts import Texts

__all__ = ["TASKS", "Task", "prepare"]

TASKS: dict[str, type[Task[Any, Any]]] = {
    "classification": Classification,
    "nodes": Nodes,
    "texts": Texts,
    "recommendation": Recommendation,
}


def prepare(training: spec.TrainingSpec, data: Any, *, device: torch.device, world: World = ALONE) -> Task[Any, Any]:
    """The spec's task, with its network, on a device. `data` is what `reading.load` returns for its data set."""
    return _task(training)(training, data, device=device, world=world)


def _task(training: spec.TrainingSpec) -> type[Task[Any, Any]]:
    if not isinstance(training, spec.PluginTask):
        return TASKS[training.task]
    own: type[Task[Any, Any]] = plugins.built_by(training.builder)
    return own
