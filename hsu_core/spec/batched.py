"""What does the spec of a training on batches contain, whatever the examples are?"""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from hsu_core.spec.training import TrainingSpec
from hsu_core.spec.values import Count, fault

__all__ = ["BatchedSpec"]


class BatchedSpec(TrainingSpec):
    """A training whose steps each see a batch of the data set."""

    examples: ClassVar[str]
    """What a batch consists of, for messages."""

    batch_size: Count

    @model_validator(mode="after")
    def _batch_fits(self) -> BatchedSpec:
        train = self.dataset.facts.train
        if self.batch_size > train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {train} training {self.examples}, found a batch of {self.batch_size}",
            )
        return self

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set. The examples left over wait for the next epoch, in a new order."""
        return self.dataset.facts.train // self.batch_size
