"""What does the training loop ask of a task? A network, batches, the loss, and what an evaluation gives.

Knows tensors and specs. Knows no optimizer, penalty, checkpoint or schedule: they are the same for every task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from hsu_core import spec
from hsu_core.ranks import World
from hsu_core.regularizers import Classes

Batch = TypeVar("Batch")
Outputs = TypeVar("Outputs")


class Examples(NamedTuple):
    """Some examples, of which the classes are known."""

    batch: Any
    """As `outputs` takes it."""
    classes: Int64[Tensor, " n"]
    rows: Int64[Tensor, " n"] | slice = slice(None)
    """Which rows of the outputs, and of the features, are theirs."""


class Task(ABC, Generic[Batch, Outputs]):
    """One task on one device; in a parallel run, the part of a rank."""

    model: nn.Module
    """The network, with initial weights that depend on the spec's seed alone. It is set by the constructor."""
    left_out: Mapping[str, str] = MappingProxyType({})
    """Examples that are not used as the others are, and why."""

    @abstractmethod
    def __init__(self, training: spec.TrainingSpec, data: Any, *, device: torch.device, world: World) -> None:
        """`data` is what `reading.load` returns for the spec's data set."""

    @abstractmethod
    def batches(self, start: int) -> Iterator[Batch]:
        """The batches of steps start, start + 1, … without end: functions of seed and step, so resuming needs no state.

        Of each batch, the part of this rank.
        """

    @abstractmethod
    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        """What the network makes of a batch, in the spec's precision. `network`: the model, or its parallel replica."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """The mean loss of a batch, in float32."""

    @abstractmethod
    def measured(self, outputs: Outputs, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """What is recorded of a training batch beside its loss: the spec's `measured`, means over the batch."""

    @abstractmethod
    def evaluated(self) -> dict[str, Float[Tensor, ""]]:
        """The present model on held-out data: the spec's `evaluated`. The same on every rank."""

    def content(self, batch: Batch) -> Sequence[Any]:
        """What enters the network at a training batch, with the classes: tensors, numbers, and sequences of them.

        Two trainings whose first batches have equal content see the same data in the same order.
        """
        return batch if isinstance(batch, tuple | list) else [batch]

    def right(self) -> Bool[Tensor, " n"] | None:
        """Which test examples the last evaluation got right, in the order of the test set. The same on every rank.

        None for a task that does not classify. Every rank must call this.
        """
        return None

    def known_classes(self, batch: Batch) -> Classes:
        """The classes of a training batch. NotImplementedError for a task without classes."""
        raise NotImplementedError(f"{type(self).__name__} has no classes")

    def examples(self, part: str) -> Iterator[Examples]:
        """All examples of a part, `train` or `test`, in order and without augmentation. The same on every rank.

        NotImplementedError for a task without classes, of which a spec refuses what needs them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no classes")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Inside, networks run in the spec's precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def randomness(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Inside, what draws from the global generators, as dropout does, draws what depends on (seed, step) alone."""
    drawn = int(np.random.SeedSequence((seed, step), spawn_key=(2,)).generate_state(1, np.uint64)[0])
    is_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_gpu else []):
        torch.default_generator.manual_seed(drawn)
        if is_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(drawn)
        yield
