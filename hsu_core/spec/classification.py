"""What may be asked of a classification of images?"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from hsu_core.spec.datasets import ImageDataset
from hsu_core.spec.geometry import Geometry
from hsu_core.spec.image_models import ImageModel
from hsu_core.spec.training import Load, Metric, TrainingSpec
from hsu_core.spec.values import Count, fault

__all__ = ["ClassificationSpec"]


class ClassificationSpec(TrainingSpec):
    """A network that tells to which class an image belongs, trained with cross entropy."""

    measured = ("accuracy",)
    evaluated = ("test_loss", "test_accuracy")
    primary = Metric("test_accuracy")

    task: Literal["classification"] = "classification"
    dataset: ImageDataset
    model: ImageModel
    batch_size: Count = 128
    augment: Literal["none", "crop_flip"] = "none"
    """crop_flip: each training image is moved by up to an eighth of its side (4 pixels of 32, as in the usual CIFAR
    recipe; 3 of 28; 1 of 8) and mirrored left to right half of the time. Mirrored digits are no digits: it is meant
    for photographs and clothes."""

    @model_validator(mode="after")
    def _batch_fits(self) -> ClassificationSpec:
        facts = self.dataset.facts
        if self.batch_size > facts.train:
            raise fault(
                "batch_size",
                "batch_larger_than_dataset",
                f"{self.dataset.kind} has {facts.train} training images, found a batch of {self.batch_size}",
            )
        return self

    def misfit(self) -> str | None:
        """Why the network does not take images of this size; None if it does."""
        return self.model.misfit(self.dataset.facts.shape)

    def indivisible(self, processes: int) -> str | None:
        """Why a batch has no equal parts for so many processes; None if it has."""
        if self.batch_size % processes == 0:
            return None
        return f"batch_size: expected a multiple of the {processes} processes, found {self.batch_size}"

    @property
    def geometry(self) -> Geometry:
        """What its network is made of."""
        return self.model.geometry(self.dataset.facts)

    @property
    def load(self) -> Load:
        """A batch of images, and all images with a byte for each pixel and channel."""
        facts = self.dataset.facts
        pixels = math.prod(facts.shape)
        return Load(self.batch_size, pixels, data=(facts.train + facts.test) * pixels)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training set; what is left over waits for the next epoch's order."""
        return self.dataset.facts.train // self.batch_size
