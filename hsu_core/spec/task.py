"""What does every task declare? Callers use these properties, and do not depend on which task it is.

Knows which data set is needed, what is recorded and saved, and which spec fits a saved state. Does not know how a task
is run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hsu_core.spec.datasets import Dataset
from hsu_core.spec.values import Spec

if TYPE_CHECKING:
    from hsu_core.spec.training import Checkpoint

__all__ = ["Misfit", "TaskSpec"]


class Misfit(NamedTuple):
    """Why a spec does not fit a saved state, or its own network."""

    pointer: str
    """A JSON pointer to the field."""
    reason: str


class TaskSpec(Spec, ABC):
    """The spec of a task. The defaults here are for a task that reads no data set and saves no checkpoint."""

    of_the_start: ClassVar[tuple[str, ...]] = ()
    """Optional fields that only a start needs: a run that continues from a checkpoint is without them."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """The number of steps."""

    @property
    def recorded_every(self) -> int:
        """Steps between two points of its curves."""
        return 1

    @property
    def required_dataset(self) -> Dataset | None:
        """The data set that a machine must be able to read; None if it needs none."""
        return None

    @property
    def plugins(self) -> dict[str, str]:
        """The distributions of the plug-ins that it uses, with their versions."""
        return {}

    @property
    def checkpoint_policy(self) -> Checkpoint | None:
        """When its state is saved and what is kept; None if it saves nothing and always starts from the beginning."""
        return None

    def layer_misfits(self) -> Iterator[Misfit]:
        """Names of layers that the network lacks, and a penalty without a layer; nothing if all have a meaning."""
        yield from ()

    @property
    def initial_checkpoint(self) -> tuple[int, int] | None:
        """The job and the step of the checkpoint whose weights it starts from; None if it starts from no job's."""
        return None

    def misfits(self, _after: TaskSpec, _step: int) -> Iterator[Misfit]:
        """Why another spec cannot continue from a checkpoint of this one at a step; nothing if it can."""
        yield Misfit("/task", "the task saves no checkpoints that another job could go on from")
