"""What does the spec of a recommendation task contain?"""

from __future__ import annotations

from typing import Literal

from hsu_core.spec.batched import BatchedSpec
from hsu_core.spec.datasets import InteractionDataset
from hsu_core.spec.evaluate import NO_CLASSES
from hsu_core.spec.models import Recommender
from hsu_core.spec.optimizers import Adam, Optimizer
from hsu_core.spec.recommenders import BPR, RecommenderLoss
from hsu_core.spec.schedules import Constant, Schedule
from hsu_core.spec.training import Load, Metric
from hsu_core.spec.values import Count

__all__ = ["RecommendationSpec"]


class RecommendationSpec(BatchedSpec):
    """Vectors of users and items, trained so that a user has high scores for the items of later interactions.

    A score is the product of the two vectors. The last fifth of each user's interactions, by time, is held out. A user
    with one or two interactions has none held out, and is not evaluated.
    """

    measured = ()
    evaluated = ("recall_at_20", "ndcg_at_20")
    examples = "interactions"
    primary = Metric("recall_at_20")
    unevaluated = NO_CLASSES
    has_classes = False

    task: Literal["recommendation"] = "recommendation"
    dataset: InteractionDataset
    model: Recommender
    loss: RecommenderLoss = BPR()
    optimizer: Optimizer = Adam(lr=1e-3)
    schedule: Schedule = Constant()
    batch_size: Count = 1024

    @property
    def load(self) -> Load:
        """A batch of interactions. Data: all interactions, and the scores of all users and items at an evaluation."""
        facts = self.dataset.facts
        return Load(self.batch_size, 3, data=8 * 2 * (facts.train + facts.test) + 4 * facts.users * facts.items)
