"""What does the spec of an image classification contain?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import model_validator

from hsu_core.spec.batch_norm import BatchNorm
from hsu_core.spec.batched import BatchedSpec
from hsu_core.spec.datasets import ImageDataset
from hsu_core.spec.losses import CrossEntropy
from hsu_core.spec.models import ImageModel
from hsu_core.spec.own_datasets import called
from hsu_core.spec.task import Misfit, TaskSpec
from hsu_core.spec.training import Load, Metric
from hsu_core.spec.values import Count, Flag, fault, left_out_at

__all__ = ["ClassificationSpec", "Initialisation"]

CLASS = 8
"""Bytes of the number of a class on the device."""
Initialisation = Literal["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal"]


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

    augment_padding: Annotated[Literal["black", "symmetric"], left_out_at("black")] = "black"
    """What crop_flip moves in from outside an image: black, or its mirror image beyond the edge."""
    stream: Annotated[Flag | None, left_out_at(None)] = None
    """Whether batches are read from the disk when they are needed, and the device does not hold the data set. The
    batches are the same. Null: so it is if the set takes more than half of the device's memory."""
    loss: Annotated[CrossEntropy, left_out_at(CrossEntropy())] = CrossEntropy()
    batch_norm: Annotated[BatchNorm | None, left_out_at(None)] = None
    """Null: as torch does it, with momentum 0.1."""
    initialisation: Annotated[Initialisation | None, left_out_at(None)] = None
    """How the weights of linear layers and convolutions are drawn, with biases of 0; null: as the network is published.
    `kaiming_normal`: N(0, 2/fan_in) (He et al. 2015). `orthogonal`: orthonormal rows, or columns where there are fewer
    (Saxe et al. 2014)."""

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> ClassificationSpec:
        if self.augment == "none" and self.augment_padding != "black":
            raise fault("augment_padding", "nothing_is_moved", "padding needs augment: crop_flip, found none")
        if self.batch_norm and not any("norm" in layer.then for layer in self.geometry.layers):
            raise fault("batch_norm", "no_batch_norm", f"{self.model.kind} has no batch norm")
        return self

    @model_validator(mode="after")
    def _has_so_many(self) -> ClassificationSpec:
        attacks, test = self.evaluate.attacks, self.dataset.facts.test
        if attacks and (attacks.examples or 0) > test:
            reason = f"{called(self.dataset)} has {test} test images, found {attacks.examples}"
            raise fault(("evaluate", "attacks", "examples"), "too_many_examples", reason)
        return self

    def misfit(self) -> str | None:
        """Why the network does not accept images of this size; None if it does."""
        return self.model.misfit(self.dataset.facts.shape)

    def misfits(self, after: TaskSpec, step: int) -> Iterator[Misfit]:
        """Also the running averages of batch norms must mean the same."""
        yield from super().misfits(after, step)
        if isinstance(after, ClassificationSpec) and _is_debiased(after) != _is_debiased(self):
            yield Misfit("/batch_norm/debiased", f"running averages must stay debiased: {_is_debiased(self)}")

    @property
    def load(self) -> Load:
        """A batch of images, and the data set with one byte for each pixel and channel; streamed, only its classes."""
        facts = self.dataset.facts
        pixels = math.prod(facts.shape)
        return Load(self.batch_size, pixels, data=(facts.train + facts.test) * (CLASS if self.stream else pixels))


def _is_debiased(training: ClassificationSpec) -> bool:
    return bool(training.batch_norm and training.batch_norm.debiased)
