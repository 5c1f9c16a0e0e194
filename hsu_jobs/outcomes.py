"""How can an attempt end, and what does that make of the job?

Expected endings are values, `match`ed side by side. Knows no rows and no processes.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter

from hsu_jobs.states import State, Wanted

Real = Annotated[float, PlainSerializer(lambda x: x if math.isfinite(x) else _NAMES[str(x)], when_used="json")]
"""A float that survives JSON: NaN and the infinities, which JSON lacks, are the strings that pydantic reads back."""
_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Ending(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Succeeded(Ending):
    """Trained to the last step."""

    kind: Literal["succeeded"] = "succeeded"
    result: dict[str, Real]
    skipped_layers: dict[str, str] = {}
    """Layers that the regularizer was to act on and could not, and why."""


class Cancelled(Ending):
    """Stopped because its owner asked for it."""

    kind: Literal["cancelled"] = "cancelled"


class Released(Ending):
    """Stopped because its worker shuts down: the job goes back to the queue."""

    kind: Literal["released"] = "released"


class Failed(Ending):
    """Ended in a way that would come again: a bad spec, NaN, out of memory. Not retried."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str


class Crashed(Ending):
    """The runner died without a word, by signal or by exit. Retried."""

    kind: Literal["crashed"] = "crashed"
    message: str


class Lost(Ending):
    """The lease ran out: worker or machine are gone. Retried."""

    kind: Literal["lost"] = "lost"


Outcome = Annotated[Succeeded | Cancelled | Released | Failed | Crashed | Lost, Field(discriminator="kind")]
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


class Failure(Ending):
    """Why a job failed: a stable code and a sentence."""

    code: str
    message: str


def verdict(outcome: Outcome, *, attempts: int, max_attempts: int, wanted: Wanted) -> tuple[State, Failure | None]:
    """What becomes of a job whose `attempts`-th attempt ended so."""
    match outcome:
        case Succeeded():
            return State.SUCCEEDED, None
        case Failed(code=code, message=message):
            return State.FAILED, Failure(code=code, message=message)
        case Cancelled():
            return State.CANCELLED, None
        case Released() | Crashed() | Lost() if wanted is Wanted.CANCEL:
            return State.CANCELLED, None
        case Released():
            return State.QUEUED, None
        case Crashed() | Lost() if attempts < max_attempts:
            return State.QUEUED, None
        case Crashed(message=message):
            return State.FAILED, Failure(code="crashed", message=f"{_given_up(attempts)}: {message}")
        case Lost():
            return State.FAILED, Failure(code="worker_lost", message=f"{_given_up(attempts)}: the worker was lost")
        case _:
            assert_never(outcome)


def _given_up(attempts: int) -> str:
    return f"given up after {attempts} {'attempt' if attempts == 1 else 'attempts'}"
