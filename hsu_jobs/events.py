"""What can happen to a job? One closed union, the same in the table and wherever it is shown.

An event of another version that this one does not know is shown as it is stored (`StrangeEvent`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hsu_jobs.outcomes import Outcome
from hsu_jobs.states import State, Stop, Wanted


class Happening(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Submitted(Happening):
    """The job entered the queue."""

    kind: Literal["submitted"] = "submitted"
    parent: int | None = None
    """The job from which it continues."""
    parent_step: int | None = None


class Started(Happening):
    """A worker claimed the job."""

    kind: Literal["started"] = "started"
    attempt: int
    worker: str
    device: str


class Skipped(Happening):
    """The training begins, and its regularizer leaves out layers that it was to act on, or the task leaves out data."""

    kind: Literal["skipped"] = "skipped"
    attempt: int
    layers: dict[str, str]
    """The names of the layers, and why. Also examples, as users with too few interactions: what they are, and why."""


class Restored(Happening):
    """An attempt resumed from a checkpoint; curves from that step on are written again."""

    kind: Literal["restored"] = "restored"
    attempt: int
    step: int


class Saved(Happening):
    """A checkpoint can be resumed or forked from."""

    kind: Literal["saved"] = "saved"
    attempt: int
    step: int


class Damaged(Happening):
    """A checkpoint can no longer be read; an older one has to be used."""

    kind: Literal["damaged"] = "damaged"
    step: int
    message: str


class Missing(Happening):
    """A checkpoint's file is certainly no longer in the storage; an older one has to be used."""

    kind: Literal["missing"] = "missing"
    step: int
    message: str


class Asked(Happening):
    """The owner requested something that takes time."""

    kind: Literal["asked"] = "asked"
    wanted: Wanted


class Paused(Happening):
    """A waiting job was paused."""

    kind: Literal["paused"] = "paused"


class Cancelled(Happening):
    """A job that was not running was cancelled."""

    kind: Literal["cancelled"] = "cancelled"


class Resumed(Happening):
    """A paused job waits again, or continues to run."""

    kind: Literal["resumed"] = "resumed"


class Prioritised(Happening):
    """The job's priority changed."""

    kind: Literal["prioritised"] = "prioritised"
    priority: int


class Stopping(Happening):
    """The service asked the running attempt to stop."""

    kind: Literal["stopping"] = "stopping"
    attempt: int
    why: Stop


class Expired(Happening):
    """A job that was not running is past its deadline."""

    kind: Literal["expired"] = "expired"


class Ended(Happening):
    """An attempt ended, and perhaps the job with it."""

    kind: Literal["ended"] = "ended"
    attempt: int
    outcome: Outcome
    state: State
    """The job's new state."""


Event = Annotated[
    Submitted
    | Started
    | Skipped
    | Restored
    | Saved
    | Damaged
    | Missing
    | Asked
    | Paused
    | Cancelled
    | Resumed
    | Prioritised
    | Stopping
    | Expired
    | Ended,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class StrangeEvent(BaseModel):
    """An event that this version of the service does not know, as it is stored."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str


def kind_of(stored: Any) -> str:
    """The kind of a stored event, also of one that this version does not know."""
    kind = stored.get("kind") if isinstance(stored, dict) else None
    return kind if isinstance(kind, str) else _NO_KIND


_NO_KIND = "unknown"
"""The kind of what was stored without one."""


def read_event(stored: Any) -> Event | StrangeEvent:
    """A stored event, whichever version wrote it."""
    try:
        return EVENT.validate_python(stored)
    except ValidationError:
        fields = stored if isinstance(stored, dict) else {"stored": stored}
        return StrangeEvent(**{**fields, "kind": kind_of(stored)})
