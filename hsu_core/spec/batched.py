"""What does the spec of a training on batches contain, whatever the examples are?"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import model_validator

from hsu_core.spec.own_datasets import called
from hsu_core.spec.training import TrainingSpec
from hsu_core.spec.values import Count, fault, left_out_at

__all__ = ["BatchedSpec"]


class BatchedSpec(TrainingSpec):
    """A training whose steps each see a batch of the data set."""

    examples: ClassVar[str]
    """What a batch consists of, for messages."""

    batch_size: Count
    epoch_steps: Annotated[Count | None, left_out_at(None)] = None
    """Steps of an epoch; null: every whole batch of the training set. With fewer, an epoch leaves some examples out."""

    @model_validator(mode="after")
    def _batch_fits(self) -> BatchedSpec:
        train = self.dataset.facts.train
        if self.batch_size > train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{called(self.dataset)} has {train} training {self.examples}, found a batch of {self.batch_size}",
            )
        if self.epoch_steps and self.epoch_steps > train // self.batch_size:
            raise fault(
                "epoch_steps",
                "epoch_longer_than_dataset",
                f"{called(self.dataset)} has {train // self.batch_size} whole batches of {self.batch_size}, found "
                f"{self.epoch_steps}",
            )
        return self

    def indivisible(self, processes: int) -> str | None:
        """Why a batch cannot be split equally among so many processes; None if it can."""
        if self.batch_size % processes == 0:
            return None
        return f"batch_size: expected a multiple of the {processes} processes, found {self.batch_size}"

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set. The examples left over wait for the next epoch, in a new order."""
        return self.epoch_steps or self.dataset.facts.train // self.batch_size
