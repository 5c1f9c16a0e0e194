"""What does the trained network make of every example, and which rank does which part of the work?

Knows tasks and ranks. A piece of work does not depend on how many ranks there are, so the results do not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hsu_core.ranks import World
from hsu_core.regularizers.layers import Layer
from hsu_core.tasks import Task

Piece = TypeVar("Piece")


class Interrupted(Exception):
    """The caller has asked to stop."""


class Turns:
    """Deals out pieces of work to the ranks, and asks before each round of them whether to stop."""

    def __init__(self, world: World, should_stop: Callable[[], bool]) -> None:
        self.world, self.should_stop = world, should_stop

    def of(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, bool]]:
        """Each piece, and whether this rank does it. `Interrupted` on all ranks once the first one is asked to stop."""
        for number, piece in enumerate(pieces):
            place = number % self.world.size
            if place == 0 and self.world.agree(self.should_stop()):
                raise Interrupted
            yield piece, place == self.world.rank

    def total(self, counts: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """The sum over ranks."""
        return self.world.sum(counts)


class Seen(NamedTuple):
    """What a network makes of examples."""

    features: Float[Tensor, "n d"]
    """The inputs of its classifier."""
    logits: Float[Tensor, "n classes"]
    classes: Int64[Tensor, " n"]
    """The true ones."""


@torch.no_grad()
def seen(task: Task[Any, Any], part: str, classifier: Layer, turns: Turns) -> Seen:
    """One pass over the examples of a part, `train` or `test`, in order and without augmentation."""
    neurons, dimension = classifier.shape
    features, logits, classes = [], [], []
    with _inputs(classifier.module) as caught:
        for piece, is_mine in turns.of(task.examples(part)):
            classes.append(piece.classes)
            if is_mine:
                made = task.outputs(task.model, piece.batch)
                logits.append(made[piece.rows])
                features.append(caught.pop()[piece.rows].float())
            else:  # zeros, to which the rank that does it adds
                logits.append(torch.zeros(len(piece.classes), neurons, device=piece.classes.device))
                features.append(torch.zeros(len(piece.classes), dimension, device=piece.classes.device))
    return Seen(turns.total(torch.cat(features)), turns.total(torch.cat(logits)), torch.cat(classes))


@contextmanager
def _inputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, the list gets what enters the module, a row for each example."""
    caught: list[Tensor] = []

    def catch(_module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        caught.append((inputs[0] if inputs else named["input"]).flatten(start_dim=1))

    handle = module.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        yield caught
    finally:
        handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode and its weights get no gradients."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_()
        model.train()
