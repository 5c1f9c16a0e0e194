"""What does the spec of a recommendation task contain?"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from hsu_core.spec.datasets import InteractionDataset
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.optimizers import Adam, Constant, Optimizer, Schedule
from hsu_core.spec.recommenders import BPR, Recommender, RecommenderLoss
from hsu_core.spec.training import Load, Metric, TrainingSpec
from hsu_core.spec.values import Count, fault

__all__ = ["RecommendationSpec"]


class RecommendationSpec(TrainingSpec):
    """Vectors of users and items, trained so that a user has high scores for the items of later interactions.

    A score is the product of the two vectors. The last fifth of each user's interactions, by time, is held out. A user
    with a single interaction is not evaluated.
    """

    measured = ()
    evaluated = ("recall_at_20", "ndcg_at_20")
    primary = Metric("recall_at_20")

    task: Literal["recommendation"] = "recommendation"
    dataset: InteractionDataset
    model: Recommender
    loss: RecommenderLoss = BPR()
    optimizer: Optimizer = Adam(lr=1e-3)
    schedule: Schedule = Constant()
    batch_size: Count = 1024

    @model_validator(mode="after")
    def _batch_fits(self) -> RecommendationSpec:
        facts = self.dataset.facts
        if self.batch_size > facts.train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {facts.train} training interactions, found a batch of {self.batch_size}",
            )
        return self

    @property
    def geometry(self) -> Geometry:
        """The layers of its model, and their sizes."""
        return self.model.geometry(self.dataset.facts)

    @property
    def load(self) -> Load:
        """A batch of interactions. Data: all interactions, and the scores of all users and items at an evaluation."""
        facts = self.dataset.facts
        return Load(self.batch_size, 3, data=8 * 2 * (facts.train + facts.test) + 4 * facts.users * facts.items)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training interactions. The rest is skipped until the next epoch, in a new order."""
        return self.dataset.facts.train // self.batch_size
