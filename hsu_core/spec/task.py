"""What does every task say of itself? A caller asks for what it needs, and not which task it is.

Knows which data set is needed, what is recorded and saved, and what fits a saved state. Knows not how a task is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from hsu_core.spec.datasets import Dataset
from hsu_core.spec.values import Spec

if TYPE_CHECKING:
    from hsu_core.spec.training import Checkpoint

__all__ = ["Misfit", "TaskSpec"]


class Misfit(NamedTuple):
    """Why a spec does not fit a saved state."""

    pointer: str
    """A JSON pointer to the field."""
    reason: str


class TaskSpec(Spec, ABC):
    """What may be asked for. These answers are those of a task that reads no data set and saves no checkpoint."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Steps from the first to the last."""

    @property
    def recorded_every(self) -> int:
        """Steps between two points of its curves."""
        return 1

    @property
    def required_dataset(self) -> Dataset | None:
        """The data set that a machine must be able to read; None if it needs none."""
        return None

    @property
    def checkpoint_policy(self) -> Checkpoint | None:
        """When its state is saved and what is kept of it; None if it saves nothing and always begins anew."""
        return None

    def misfits(self, _after: TaskSpec, _step: int) -> Iterator[Misfit]:
        """What keeps another spec from going on from a checkpoint of this one at a step; nothing if it can."""
        yield Misfit("/task", "the task saves no checkpoints that another job could go on from")
