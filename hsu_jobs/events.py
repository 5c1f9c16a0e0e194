"""What can happen to a job? One closed union, the same in the table and wherever it is shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hsu_jobs.outcomes import Outcome
from hsu_jobs.states import State


class Happening(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Submitted(Happening):
    """The job entered the queue."""

    kind: Literal["submitted"] = "submitted"


class Started(Happening):
    """A worker claimed the job."""

    kind: Literal["started"] = "started"
    attempt: int
    worker: str
    device: str


class CancelRequested(Happening):
    """The owner asked the job to stop."""

    kind: Literal["cancel_requested"] = "cancel_requested"


class Ended(Happening):
    """An attempt ended, and the job with it or not."""

    kind: Literal["ended"] = "ended"
    attempt: int
    outcome: Outcome
    state: State
    """What the job became."""


Event = Annotated[Submitted | Started | CancelRequested | Ended, Field(discriminator="kind")]
