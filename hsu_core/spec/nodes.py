"""What does the spec of a node classification contain?"""

from __future__ import annotations

from typing import Annotated, Literal

from hsu_core.spec.datasets import GraphDataset
from hsu_core.spec.evaluate import NO_PIXELS
from hsu_core.spec.losses import CrossEntropy
from hsu_core.spec.models import GraphModel
from hsu_core.spec.optimizers import Adam, Optimizer
from hsu_core.spec.schedules import Constant, Schedule
from hsu_core.spec.training import Load, Metric, TrainingSpec
from hsu_core.spec.values import left_out_at

__all__ = ["NodesSpec"]


class NodesSpec(TrainingSpec):
    """A network that predicts the class of each node of a graph from a few labelled nodes.

    Each step uses the whole graph; the loss is the cross entropy of the labelled nodes. An epoch is one step.
    """

    measured = ("accuracy",)
    evaluated = ("test_loss", "test_accuracy", "validation_loss", "validation_accuracy")
    primary = Metric("validation_accuracy")
    selected = ("test_accuracy",)
    unevaluated = NO_PIXELS

    task: Literal["nodes"] = "nodes"
    dataset: GraphDataset
    model: GraphModel
    optimizer: Optimizer = Adam(lr=0.01, weight_decay=5e-4)
    schedule: Schedule = Constant()
    loss: Annotated[CrossEntropy, left_out_at(CrossEntropy())] = CrossEntropy()

    @property
    def load(self) -> Load:
        """All nodes with their features in float32, and every edge in both directions as two node numbers."""
        facts = self.dataset.facts
        return Load(facts.nodes, facts.features, data=4 * facts.nodes * facts.features + 32 * facts.edges)

    @property
    def steps_per_epoch(self) -> int:
        """One: each step uses the whole graph."""
        return 1
