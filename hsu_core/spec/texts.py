"""What does the spec of a text classification contain?"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from hsu_core.spec.datasets import TextDataset
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.optimizers import AdamW, Optimizer
from hsu_core.spec.text_models import TextModel, TextTransformer
from hsu_core.spec.training import Load, Metric, TrainingSpec
from hsu_core.spec.values import Count, fault

__all__ = ["TextsSpec"]


class TextsSpec(TrainingSpec):
    """A network that predicts the class of a text, trained with cross entropy.

    Its vocabulary is learned from the training texts and is part of every checkpoint.
    """

    measured = ("accuracy",)
    evaluated = ("test_loss", "test_accuracy")
    primary = Metric("test_accuracy")

    task: Literal["texts"] = "texts"
    dataset: TextDataset
    model: TextModel
    optimizer: Optimizer = AdamW()
    batch_size: Count = 64

    @model_validator(mode="after")
    def _batch_fits(self) -> TextsSpec:
        facts = self.dataset.facts
        if self.batch_size > facts.train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {facts.train} training texts, found a batch of {self.batch_size}",
            )
        return self

    @property
    def geometry(self) -> Geometry:
        """The layers of its network, and their sizes."""
        return self.model.geometry(self.dataset.facts)

    @property
    def load(self) -> Load:
        """A batch of texts, and the data set as token numbers in int64."""
        facts, tokens = self.dataset.facts, self.model.length if isinstance(self.model, TextTransformer) else 64
        return Load(self.batch_size, tokens, data=8 * tokens * (facts.train + facts.test))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set. The texts left over are skipped until the next epoch, in a new order."""
        return self.dataset.facts.train // self.batch_size
