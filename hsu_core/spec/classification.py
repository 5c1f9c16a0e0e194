"""What does the spec of an image classification contain?"""

from __future__ import annotations

import math
from typing import Literal

from hsu_core.spec.batched import BatchedSpec
from hsu_core.spec.datasets import ImageDataset
from hsu_core.spec.image_models import ImageModel
from hsu_core.spec.training import Load, Metric
from hsu_core.spec.values import Count

__all__ = ["ClassificationSpec"]


class ClassificationSpec(BatchedSpec):
    """A network that predicts the class of an image, trained with cross entropy."""

    measured = ("accuracy",)
    evaluated = ("test_loss", "test_accuracy")
    examples = "images"
    primary = Metric("test_accuracy")

    task: Literal["classification"] = "classification"
    dataset: ImageDataset
    model: ImageModel
    batch_size: Count = 128
    augment: Literal["none", "crop_flip"] = "none"
    """crop_flip: each training image is moved by up to an eighth of its side (4 pixels of 32, as in the usual CIFAR
    recipe; 3 of 28; 1 of 8) and mirrored left to right with probability ½. Use it for photographs and clothes, not
    for digits: a mirrored digit is no longer a digit."""

    def misfit(self) -> str | None:
        """Why the network does not accept images of this size; None if it does."""
        return self.model.misfit(self.dataset.facts.shape)

    def indivisible(self, processes: int) -> str | None:
        """Why a batch cannot be split equally among so many processes; None if it can."""
        if self.batch_size % processes == 0:
            return None
        return f"batch_size: expected a multiple of the {processes} processes, found {self.batch_size}"

    @property
    def load(self) -> Load:
        """A batch of images, and the data set with one byte for each pixel and channel."""
        facts = self.dataset.facts
        pixels = math.prod(facts.shape)
        return Load(self.batch_size, pixels, data=(facts.train + facts.test) * pixels)
