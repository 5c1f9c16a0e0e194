"""What can be wrong with a request?

    JobsError
    ├── BadRequest          400   the request cannot be read
    ├── TooMuch             400   the answer would be too large
    ├── Unauthorized        401   no key, or not a valid one
    ├── Forbidden           403   the key's role does not allow it
    ├── NotFound            404   there is no such thing, or it is not yours
    ├── IllegalMove         409   the job's state does not allow it
    ├── UnderWay            409   a request with this idempotency key is being answered
    ├── SpecNotReadable     409   this version of the service cannot read the job's spec
    ├── AttemptEnded        409   the tracked run is no longer this client's
    ├── BatchOutOfOrder     409   batches are missing before this one
    ├── WebhookInactive     409   nothing is sent to it
    ├── WrongDatasetState   409   the state of the data set does not allow it
    ├── WrongFileState      409   the upload of a run's file does not allow it
    ├── FileRefused         409   what arrived of a run's file is not what was declared
    ├── StateInUse          409   jobs that have not ended start from the saved state
    ├── DatasetInUse        409   jobs that have not ended use the data set
    ├── StudyNotEnded       409   jobs of the study have not ended
    ├── QuotaExceeded       409   one user may not have more of it waiting
    ├── Gone                410   it existed and was removed
    ├── BodyTooLarge        413   the body is over the limit
    ├── UnsupportedMediaType 415  the body is not what is accepted: JSON in UTF-8, uncompressed
    ├── RangeNotSatisfiable 416  the file has no such bytes
    ├── IdempotencyConflict 422   the key was used with another body
    ├── SpecRejected        422   a field of the spec is wrong; points at it
    ├── UpgradeRequired     426   it cannot be sent over this version of HTTP
    ├── TooManyRequests     429   the key, or an address without a valid one, asks too often
    │   └── TooManyStreams  429   the key has as many streams open as it may
    ├── Unavailable         503   the database does not answer
    └── TookTooLong         504   the answer did not begin in time

    LeaseLost                     (never leaves the worker: the attempt is no longer ours)
    NameTaken                     (never leaves the worker: another live process serves under its name)

Each is rendered once, by `api.problems`, as application/problem+json with its stable `code`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from hsu_jobs.states import TERMINAL, Action, State, Wanted, legal


class Fault(BaseModel):
    """One wrong field: where it is, what was wrong and what would be right."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    """JSON pointer (RFC 6901) into the request's body."""
    code: str
    detail: str


class JobsError(Exception):
    """What was wrong, described for the person who can act on it."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class BadRequest(JobsError):
    """The request cannot be read."""

    status, code, title = 400, "bad_request", "The request cannot be read"


class TooMuch(JobsError):
    """The answer would be too large."""

    status, code, title = 400, "too_much", "The answer would be too large"


class Unauthorized(JobsError):
    """No key, or not a valid one."""

    status, code, title = 401, "unauthorized", "A valid API key is needed"


class Forbidden(JobsError):
    """The key's role does not allow it."""

    status, code, title = 403, "forbidden", "The key's role does not allow this"


class NotFound(JobsError):
    """There is no such thing, or it is not yours."""

    status, code, title = 404, "not_found", "There is no such thing here"


class IllegalMove(JobsError):
    """The job's state does not allow it."""

    status, code, title = 409, "illegal_move", "The job's state does not allow this"

    def __init__(self, detail: str, *, state: State | None = None, possible: tuple[Action, ...] = ()) -> None:
        super().__init__(detail)
        self.state = state
        self.possible = possible

    @classmethod
    def of(cls, action: Action, *, state: State, wanted: Wanted, is_tracked: bool = False) -> IllegalMove:
        """The error, with the job's state and what may be requested of it instead."""
        possible = tuple(sorted(legal(state, wanted, is_tracked=is_tracked)))
        doing = "" if wanted is Wanted.RUN or state in TERMINAL or state is State.PAUSED else f" and is to {wanted}"
        nothing = "nothing, it is a tracked run" if is_tracked else _NEWER
        what_is = ", ".join(possible) or nothing
        detail = f"the job is {state}{doing}: {action} is not possible; what is: {what_is}"
        return cls(detail, state=state, possible=possible)


_NEWER = "nothing, a newer version of the service knows this state"


class UnderWay(JobsError):
    """A request with this idempotency key is being answered."""

    status, code, title = 409, "request_under_way", "A request with this idempotency key is under way"


class SpecNotReadable(JobsError):
    """The job's stored spec cannot be read by this version of the service."""

    status, code, title = 409, "spec_not_readable", "This version of the service cannot read the job's spec"

    job_id: int | None = None
    """The job with this spec, where that is known."""


class AttemptEnded(JobsError):
    """The tracked run is no longer this client's."""

    status, code, title = 409, "attempt_ended", "This attempt at the run has ended"


class BatchOutOfOrder(JobsError):
    """Batches are missing before this one."""

    status, code, title = 409, "batch_out_of_order", "Batches are missing before this one"


class WebhookInactive(JobsError):
    """Nothing is sent to it."""

    status, code, title = 409, "webhook_inactive", "The webhook is not active"


class WrongDatasetState(JobsError):
    """The state of the data set does not allow it."""

    status, code, title = 409, "wrong_dataset_state", "The data set's state does not allow this"


class WrongFileState(JobsError):
    """The upload of the file does not allow it."""

    status, code, title = 409, "wrong_file_state", "The file's state does not allow this"


class FileRefused(JobsError):
    """What arrived of a file is not what was declared."""

    status, code, title = 409, "file_refused", "The file is not what was declared"


class StateInUse(JobsError):
    """Jobs that have not ended start from the saved state."""

    status, code, title = 409, "state_in_use", "Jobs use the saved state"


class DatasetInUse(JobsError):
    """Jobs that have not ended use the data set."""

    status, code, title = 409, "dataset_in_use", "Jobs use the data set"


class StudyNotEnded(JobsError):
    """Jobs of the study have not ended."""

    status, code, title = 409, "study_not_ended", "The study has not ended"


class QuotaExceeded(JobsError):
    """One user may not have more of it waiting."""

    status, code, title = 409, "quota_exceeded", "One user may not have more of it waiting"


class Gone(JobsError):
    """It existed and was removed."""

    status, code, title = 410, "gone", "It was there and was removed"


class BodyTooLarge(JobsError):
    """The body is over the limit."""

    status, code, title = 413, "body_too_large", "The request's body is too large"


class UnsupportedMediaType(JobsError):
    """The body is not what is accepted."""

    status, code, title = 415, "unsupported_media_type", "The body is not in a format that is taken"

    def __init__(self, detail: str, *, accepts: str | None = None) -> None:
        super().__init__(detail)
        self.accepts = accepts
        """The accepted codings, where the coding is wrong."""


class RangeNotSatisfiable(JobsError):
    """The file has no such bytes."""

    status, code, title = 416, "range_not_satisfiable", "The file has no such bytes"

    def __init__(self, detail: str, size: int) -> None:
        super().__init__(detail)
        self.size = size
        """Of the file."""


class IdempotencyConflict(JobsError):
    """The key was used with another body."""

    status, code, title = 422, "idempotency_conflict", "The idempotency key was used with another body"


class SpecRejected(JobsError):
    """A field of the spec is wrong."""

    status, code, title = 422, "invalid_spec", "The spec is not valid"


class UpgradeRequired(JobsError):
    """It cannot be sent over this version of HTTP."""

    status, code, title = 426, "upgrade_required", "This needs HTTP/1.1"


class TooManyRequests(JobsError):
    """The key, or an address without a valid one, asks too often."""

    status, code, title = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str, *, seconds: float) -> None:
        super().__init__(detail)
        self.seconds = seconds
        """Until the next request may come."""


class TooManyStreams(TooManyRequests):
    """The key has as many streams and waiting answers open as it may."""

    code, title = "too_many_streams", "Too many streams"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}; close one first", seconds=1)


class Unavailable(JobsError):
    """The database does not answer."""

    status, code, title = 503, "unavailable", "The service cannot answer just now"


class TookTooLong(JobsError):
    """The answer did not begin in time."""

    status, code, title = 504, "took_too_long", "The answer took too long"


class LeaseLost(Exception):
    """The attempt is no longer ours: what it still writes is dropped."""


class NameTaken(Exception):
    """Another live process serves under this worker's name."""
