"""How can an attempt end, and what happens to the job then?

Expected endings are values, `match`ed side by side. Knows no rows and no processes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, TypeAdapter, ValidationError

from hsu_core.spec.values import left_out_at
from hsu_jobs.results import Answers, Frozen, PointsResult, Result, TrainingResult
from hsu_jobs.states import State, Wanted


class Ending(Frozen):
    """How an attempt ended."""


class Succeeded(Ending):
    """Done to the end: trained to the last step, or every start improved."""

    kind: Literal["succeeded"] = "succeeded"
    result: Result
    skipped_layers: dict[str, str] = Field(default={})
    """Layers that the regularizer was to act on and could not, and why."""
    unsaved: str | None = None
    """Why the final state is not among the checkpoints; null if it is."""
    answers: Annotated[Answers | None, left_out_at(None)] = None
    """Which test examples were classified right; left out of attempts and events."""


class Cancelled(Ending):
    """Stopped because its owner asked for it."""

    kind: Literal["cancelled"] = "cancelled"


class Paused(Ending):
    """Stopped because its owner asked for a pause."""

    kind: Literal["paused"] = "paused"


class Preempted(Ending):
    """Stopped for a job of higher priority: the job goes back to the queue."""

    kind: Literal["preempted"] = "preempted"


class Released(Ending):
    """Stopped because its worker shuts down or is drained: the job goes back to the queue."""

    kind: Literal["released"] = "released"


class Overdue(Ending):
    """Stopped because the job's deadline has passed."""

    kind: Literal["overdue"] = "overdue"


class Failed(Ending):
    """Ended in a way that would happen again: a bad spec, NaN, out of memory. Not retried."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str


class Crashed(Ending):
    """The runner died without a report, by signal or by exit. Retried."""

    kind: Literal["crashed"] = "crashed"
    message: str


class Stalled(Ending):
    """The runner lived and made no further step within `limits.stall`. Retried."""

    kind: Literal["stalled"] = "stalled"
    message: str


class Faulty(Ending):
    """The machine's hardware or driver failed. Retried; a worker with several in a row is excluded."""

    kind: Literal["faulty"] = "faulty"
    message: str


class FileMissing(Ending):
    """A file that the spec names is not on this machine. Retried: another machine may have it."""

    kind: Literal["file_missing"] = "file_missing"
    message: str


class Lost(Ending):
    """The lease ran out: worker or machine are gone. Retried."""

    kind: Literal["lost"] = "lost"


class Unavailable(Ending):
    """What the attempt needs was not there: the machine's storage or data set, or what reads its spec or checkpoint.

    Does not count as a failure: the job waits for it.
    """

    kind: Literal["unavailable"] = "unavailable"
    code: Literal["storage_unavailable", "dataset_unavailable", "checkpoint_not_readable", "spec_not_readable"]
    message: str


Asked = Cancelled | Paused | Preempted | Released
"""Stopped by request, with the state saved."""
Broken = Crashed | Stalled | Faulty | FileMissing | Lost
"""Ended without a request: counts as a failure, unless the attempt got further than the one before."""

Outcome = Annotated[Succeeded | Asked | Overdue | Failed | Broken | Unavailable, Field(discriminator="kind")]
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def in_brief(outcome: Outcome) -> Outcome:
    """The outcome without what is kept elsewhere: the points, the certificate, and the answers to the test."""
    match outcome:
        case Succeeded(result=TrainingResult() as result) if result.certificate or outcome.answers:
            short = result.model_copy(update={"certificate": None})
            return outcome.model_copy(update={"result": short, "answers": None})
        case Succeeded(result=PointsResult() as result):
            return outcome.model_copy(update={"result": result.model_copy(update={"points": None})})
        case _:
            return outcome


class Failure(Ending):
    """Why a job failed: a stable code and a sentence."""

    code: str
    message: str


def failure_of(stored: Any) -> Failure | None:
    """Why a job failed, as far as this version can read what is stored."""
    if stored is None:
        return None
    try:
        return Failure.model_validate(stored)
    except ValidationError:
        fields = stored if isinstance(stored, dict) else {"message": stored}
        return Failure(code=str(fields.get("code", "unknown")), message=str(fields.get("message", stored)))


def verdict(outcome: Outcome, *, failure_count: int, max_failures: int, wanted: Wanted) -> tuple[State, Failure | None]:
    """The next state of a job whose attempt ended so, and why it failed if it did.

    `failure_count`: attempts in a row that failed without progress.
    """
    match outcome:
        case Succeeded():
            return State.SUCCEEDED, None
        case Failed(code=code, message=message):
            return State.FAILED, Failure(code=code, message=message)
        case Overdue():
            return State.FAILED, PAST_DEADLINE
        case Cancelled() | Paused() | Preempted() | Released() | Unavailable():
            return _WHERE.get(wanted, State.QUEUED), None
        case Crashed() | Stalled() | Faulty() | FileMissing() | Lost() if (
            failure_count < max_failures or wanted is Wanted.CANCEL
        ):
            return _WHERE.get(wanted, State.QUEUED), None
        case Crashed(message=message):
            return State.FAILED, Failure(code="crashed", message=f"{_given_up(failure_count)}: {message}")
        case Stalled(message=message):
            return State.FAILED, Failure(code="stalled", message=f"{_given_up(failure_count)}: {message}")
        case Faulty(message=message):
            return State.FAILED, Failure(code="hardware", message=f"{_given_up(failure_count)}: {message}")
        case FileMissing(message=message):
            return State.FAILED, Failure(code="file_missing", message=f"{_given_up(failure_count)}: {message}")
        case Lost():
            return State.FAILED, Failure(code="worker_lost", message=f"{_given_up(failure_count)}: the worker was lost")
        case _:
            assert_never(outcome)


def verdict_of_run(outcome: Outcome, *, wanted: Wanted) -> tuple[State, Failure | None]:
    """The next state of a tracked run whose attempt ended so: it never waits for a worker."""
    match outcome:
        case Cancelled():
            return State.CANCELLED, None
        case Paused():
            return State.PAUSED, None
        case Succeeded() | Failed() | Overdue():
            return verdict(outcome, failure_count=0, max_failures=1, wanted=wanted)
        case _:
            return (State.CANCELLED if wanted is Wanted.CANCEL else State.LOST), None


PAST_DEADLINE = Failure(code="deadline", message="the job had not ended by its deadline (limits.deadline)")

_WHERE = {Wanted.RUN: State.QUEUED, Wanted.PAUSE: State.PAUSED, Wanted.CANCEL: State.CANCELLED}
"""The next state of a job that is no longer running and has not ended by itself. With a `wanted` that only a newer
version knows, the job is queued, where that version finds it: this version does not start it."""


def _given_up(failure_count: int) -> str:
    return f"given up after {failure_count} {'attempt' if failure_count == 1 else 'attempts'} that got no further"
