"""How is a network trained to tell the classes of a graph's nodes? On the whole graph, from its labelled nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hsu_core import models, spec
from hsu_core.data.graphs import Graph
from hsu_core.ranks import World
from hsu_core.regularizers import Classes
from hsu_core.tasks.cross_entropy import mean_cross_entropy
from hsu_core.tasks.task import Examples, Task, autocast, randomness

Logits = Float[Tensor, "nodes classes"]


class Nodes(Task[int, Tensor]):
    """A graph. A batch is all of it, so that only the number of the step tells it from another."""

    def __init__(self, training: spec.NodesSpec, data: Graph, *, device: torch.device, world: World) -> None:
        assert world.is_alone  # the spec refuses several processes
        self.seed, self.precision, self.device = training.seed, training.precision, device
        self.how = training.loss
        self.features, self.labels, self.edges, self.train, self.validation, self.test = map(self._here, data)
        if alone := int((torch.bincount(self.edges.flatten(), minlength=len(self.labels)) == 0).sum()):
            self.left_out = {"nodes without neighbours": f"{alone} of {len(self.labels)}: each sees only itself"}
        self.model = models.prepared(training, training.dataset.facts).to(device)

    def _here(self, array: ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def batches(self, start: int) -> Iterator[int]:
        """The numbers of the steps."""
        return count(start)

    def outputs(self, network: nn.Module, batch: int) -> Logits:
        """Logits of all nodes in float32, in whatever precision the network ran."""
        with randomness(self.seed, batch, self.device), autocast(self.device, self.precision):
            logits: Tensor = network(self.features, self.edges)
        return logits.float()

    def loss(self, outputs: Logits, _batch: int) -> Float[Tensor, ""]:
        """Mean cross entropy of the training nodes."""
        return mean_cross_entropy(outputs[self.train], self.labels[self.train], self.how)

    def measured(self, outputs: Logits, _batch: int) -> dict[str, Float[Tensor, ""]]:
        """Fraction of training nodes with their class."""
        return {"accuracy": self._accuracy(outputs, self.train)}

    @torch.no_grad()
    def evaluated(self) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy and fraction of correct classes of the nodes for validation and for the test."""
        self.model.eval()
        logits = self.outputs(self.model, 0)
        self.model.train()
        self._hits = logits[self.test].argmax(dim=1) == self.labels[self.test]
        parts = {"test": self.test, "validation": self.validation}
        losses = {f"{name}_loss": cross_entropy(logits[part], self.labels[part]) for name, part in parts.items()}
        return losses | {f"{name}_accuracy": self._accuracy(logits, part) for name, part in parts.items()}

    def content(self, batch: int) -> Sequence[Tensor | int]:
        """The step, on which dropout depends, and the graph, with its training nodes and their classes."""
        return batch, self.features, self.edges, self.train, self.labels[self.train]

    def right(self) -> Bool[Tensor, " n"]:
        """Of the test nodes, in the order of the data set's list of them."""
        return self._hits

    def known_classes(self, _batch: int) -> Classes:
        """Of the training nodes."""
        return Classes(self.labels[self.train], self.train)

    def examples(self, part: str) -> Iterator[Examples]:
        """The labelled nodes, or those of the test, in one pass over the graph."""
        nodes = self.train if part == "train" else self.test
        yield Examples(0, self.labels[nodes], nodes)

    def _accuracy(self, logits: Logits, part: Int64[Tensor, " part"]) -> Float[Tensor, ""]:
        return (logits[part].argmax(dim=1) == self.labels[part]).float().mean()
