"""How is a network trained to tell to which class an image belongs? With cross entropy, judged on a test set."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import models, spec
from hsu_core.data.batches import Batch, Batches, normalised
from hsu_core.data.images import Images
from hsu_core.ranks import World
from hsu_core.regularizers import Classes
from hsu_core.tasks.cross_entropy import mean_cross_entropy
from hsu_core.tasks.task import Examples, Task, autocast

Logits = Float[Tensor, "n classes"]


class Classification(Task[Batch, Tensor]):
    """Images and their classes."""

    def __init__(self, training: spec.ClassificationSpec, data: Images, *, device: torch.device, world: World) -> None:
        self.precision, self.device, self.world, self.how = training.precision, device, world, training.loss
        self.data = Batches(
            data,
            size=training.batch_size,
            seed=training.seed,
            device=device,
            augment=training.augment,
            padding=training.augment_padding,
            per_epoch=training.epoch_steps,
            world=world,
            stream=training.stream,
        )
        self.classes = training.dataset.facts.classes
        self.model = models.prepared(training, training.dataset.facts).to(device)

    def batches(self, start: int) -> Iterator[Batch]:
        """Images and classes. An epoch has only full batches, and no image twice."""
        return self.data.training(start)

    def outputs(self, network: nn.Module, batch: Batch) -> Logits:
        """Logits in float32, in whatever precision the network ran."""
        return self._logits(network, batch[0])

    def logits(self, network: nn.Module, pixels: Num[Tensor, "n c h w"]) -> Logits:
        """The same for pixels from 0 to 255, and differentiable in them."""
        return self._logits(network, normalised(pixels))

    def _logits(self, network: nn.Module, x: Float[Tensor, "n c h w"]) -> Logits:
        with autocast(self.device, self.precision):
            logits: Tensor = network(x)
        return logits.float()

    def loss(self, outputs: Logits, batch: Batch) -> Float[Tensor, ""]:
        """Mean cross entropy."""
        return mean_cross_entropy(outputs, batch[1], self.how)

    def measured(self, outputs: Logits, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Fraction of correct classes."""
        return {"accuracy": (outputs.argmax(dim=1) == batch[1]).float().mean()}

    @torch.inference_mode()
    def evaluated(self) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy and fraction of correct classes over the whole test set."""
        self.model.eval()
        losses, hits = [], []
        for batch in self.data.testing():
            logits, y = self.outputs(self.model, batch), batch[1]
            losses.append(cross_entropy(logits, y, reduction="none"))
            hits.append(logits.argmax(dim=1) == y)
        self.model.train()
        self._hits = torch.cat(hits)
        totals = torch.stack([torch.cat(losses).double().sum(), self._hits.double().sum()])
        test_loss, test_accuracy = self.world.sum(totals) / len(self.data.test_y)
        return {"test_loss": test_loss, "test_accuracy": test_accuracy}

    def right(self) -> Bool[Tensor, " n"]:
        """Of all ranks, each of which evaluates a part."""
        everyone = torch.zeros(len(self.data.test_y), device=self.device)
        everyone[self.world.part(len(everyone))] = self._hits.float()
        return self.world.sum(everyone) > 0

    def known_classes(self, batch: Batch) -> Classes:
        """Of all images."""
        return Classes(batch[1])

    def examples(self, part: str) -> Iterator[Examples]:
        """Images and classes."""
        for batch in self.data.whole(part):
            yield Examples(batch, batch[1])
