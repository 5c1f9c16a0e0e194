"""How is a network trained to tell the classes of texts? With cross entropy, over what it reads of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import models, spec
from hsu_core.data.batches import epoch_order
from hsu_core.data.texts import Texts as Data
from hsu_core.models.texts import VOCABULARY
from hsu_core.ranks import World
from hsu_core.regularizers import Classes
from hsu_core.tasks.cross_entropy import mean_cross_entropy
from hsu_core.tasks.reading_texts import reader
from hsu_core.tasks.task import Examples, Task, autocast, randomness

TEST_BATCH = 1000
"""Texts at once, when the network is evaluated."""

Logits = Float[Tensor, "n classes"]


class Batch(NamedTuple):
    """Some texts, as their network takes them."""

    step: int
    inputs: tuple[Tensor, ...]
    classes: Int64[Tensor, " n"]


class Texts(Task[Batch, Tensor]):
    """Texts and their classes."""

    def __init__(self, training: spec.TextsSpec, data: Data, *, device: torch.device, world: World) -> None:
        self.part = world.part(training.batch_size)
        self.seed, self.size, self.how = training.seed, training.batch_size, training.loss
        self.precision, self.device = training.precision, device
        read = reader(training.model, data.train_x)
        self.train_x, self.test_x = (_Read(read.inputs(texts), device) for texts in (data.train_x, data.test_x))
        self.train_y, self.test_y = (torch.from_numpy(classes).to(device) for classes in (data.train_y, data.test_y))
        self.per_epoch = training.epoch_steps or len(self.train_y) // self.size
        self.model = models.prepared(training, training.dataset.facts)
        self.model.register_buffer(VOCABULARY, read.vocabulary())
        self.model.to(device)

    def batches(self, start: int) -> Iterator[Batch]:
        """Texts and classes. An epoch has only full batches, and no text twice."""
        for step in count(start):
            epoch, place = divmod(step, self.per_epoch)
            if place == 0 or step == start:
                order = epoch_order(len(self.train_y), seed=self.seed, epoch=epoch)
            chosen = order[place * self.size : (place + 1) * self.size][self.part]
            yield Batch(step, self.train_x.of(chosen), self.train_y[chosen.to(self.device)])

    def outputs(self, network: nn.Module, batch: Batch) -> Logits:
        """Logits in float32, in whatever precision the network ran."""
        with randomness(self.seed, batch.step, self.device), autocast(self.device, self.precision):
            logits: Tensor = network(*batch.inputs)
        return logits.float()

    def loss(self, outputs: Logits, batch: Batch) -> Float[Tensor, ""]:
        """Mean cross entropy."""
        return mean_cross_entropy(outputs, batch.classes, self.how)

    def measured(self, outputs: Logits, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Fraction of correct classes."""
        return {"accuracy": (outputs.argmax(dim=1) == batch.classes).float().mean()}

    @torch.no_grad()
    def evaluated(self) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy and fraction of correct classes over the whole test set."""
        self.model.eval()
        logits = torch.cat([self.outputs(self.model, batch) for batch, _, _ in self.examples("test")])
        self.model.train()
        self._hits = logits.argmax(dim=1) == self.test_y
        return {
            "test_loss": cross_entropy(logits.double(), self.test_y),
            "test_accuracy": self._hits.double().mean(),
        }

    def right(self) -> Bool[Tensor, " n"]:
        """Of all texts."""
        return self._hits

    def known_classes(self, batch: Batch) -> Classes:
        """Of all texts."""
        return Classes(batch.classes)

    def examples(self, part: str) -> Iterator[Examples]:
        """Texts and classes."""
        x, y = (self.train_x, self.train_y) if part == "train" else (self.test_x, self.test_y)
        for first in range(0, len(y), TEST_BATCH):
            chosen = torch.arange(first, min(first + TEST_BATCH, len(y)))
            classes = y[chosen.to(self.device)]
            yield Examples(Batch(0, x.of(chosen), classes), classes)


class _Read:
    """Texts as their network takes them, a row for each; rows are as long as the longest."""

    def __init__(self, inputs: tuple[Tensor, ...], device: torch.device) -> None:
        self.lengths = (inputs[-1] != 0).sum(dim=1)
        """How much of each row means something. On the CPU, so that no batch waits for the device."""
        self.inputs = tuple(part.to(device) for part in inputs)

    def of(self, chosen: Int64[Tensor, " n"]) -> tuple[Tensor, ...]:
        """Some texts, as long as the longest of them."""
        longest = max(1, int(self.lengths[chosen].max()))
        return tuple(part[chosen.to(part.device), :longest] for part in self.inputs)
