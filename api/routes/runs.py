"""Tracked runs: loops that run elsewhere begin here, send what they measure, and end.

Everything else of a run is that of its job: `/v1/jobs/{id}` shows it, and its curves, log and events.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from api.dependencies.auth import Member
from api.dependencies.jobs import OwnedAttempt, OwnedJob
from api.dependencies.joined_file import UUID_SCHEMA, Token
from api.dependencies.session import Session
from api.problems import problems
from api.views.jobs import View, rendered
from hsu_core.outcomes import Series
from hsu_core.spec.values import EXACT, WHOLE, at_most
from hsu_jobs import curves, runs
from hsu_jobs.curves.batches import MOST_COLUMNS, MOST_SERIES, BadBatch, Columns, CurveName, checked
from hsu_jobs.errors import (
    AttemptEnded,
    BadRequest,
    BatchOutOfOrder,
    Forbidden,
    IllegalMove,
    NotFound,
    SpecRejected,
    Unauthorized,
)
from hsu_jobs.outcomes import Cancelled, Failed, Outcome, Paused, Succeeded
from hsu_jobs.results import Label, TrackedResult
from hsu_jobs.runs import Client, Standing
from hsu_jobs.settings import settings
from hsu_jobs.spec import Config, Name, Tag, TrackedJob
from hsu_jobs.states import State, Stop, Wanted

router = APIRouter(prefix="/v1/runs", tags=["runs"])

MOST_STEPS = 100_000
"""Steps of one set of columns in JSON."""
LONGEST_PART = 256 * 1024
"""Characters of a log that are sent together."""
LONGEST_MESSAGE = 10_000
LARGEST_BATCH = 64 * 1024 * 1024
"""Bytes of a batch; `HSU_MAX_BODY` is most often less."""
_BYTES_EXAMPLE = '\x0f\x00\x00\x00{"columns": []}'
_AS_BYTES = Body(
    media_type="application/octet-stream", min_length=4, max_length=LARGEST_BATCH, examples=[_BYTES_EXAMPLE]
)
BatchContent = Annotated[bytes, _AS_BYTES]
"""A batch in bytes; `hsu_jobs/curves/batches.py` describes it."""

ClientToken = Annotated[UUID, UUID_SCHEMA]
Host = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
Finite = Annotated[float, Field(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]
Value = Finite | Literal["NaN", "Infinity", "-Infinity"]
Time = Annotated[float, Field(ge=0, le=1e12)]
LATEST = 253_402_300_799
"""The end of the year 9999, the last that Postgres and Python both know."""
At = Annotated[float, Field(ge=0, le=LATEST)]
Step = Annotated[int, Field(ge=0, le=EXACT), WHOLE]
Number = Annotated[int, Field(ge=1, le=EXACT), WHOLE]
LogText = Annotated[str, StringConstraints(max_length=LONGEST_PART)]
Message = Annotated[str, StringConstraints(max_length=LONGEST_MESSAGE, pattern=r"^[^\x00]*$")]

_ALWAYS = (BadRequest, Unauthorized, Forbidden, NotFound)
_UUID_EXAMPLE = "1b4e28ba-2fa1-4d3b-883f-0016d3cca427"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class _Coming(_Body):
    """Who comes to a run."""

    token: ClientToken
    """A random UUID, a new one for each attempt: a request that is repeated with it has the same answer."""
    host: Host = ""
    environment: Config | None = None
    """Where the loop runs: commit, command line, packages, host, GPUs, as the client found them."""

    @property
    def client(self) -> Client:
        """Who comes."""
        return Client(self.token, self.host, self.environment)


class NewRun(_Coming):
    """A run that begins."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": _UUID_EXAMPLE, "name": "resnet with mhe", "config": {"lr": 0.1}}]}
    )

    name: Name = "untitled"
    tags: Annotated[tuple[Tag, ...], Field(max_length=32), at_most(32)] = ()
    config: Config = {}
    """What the loop was called with."""
    began_at: At | None = None
    """When it began, in seconds since the epoch, if that was not now: of a run that is imported."""


class Return(_Coming):
    """A client that comes back to a run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": _UUID_EXAMPLE, "step": 100}]})

    step: Step | None = None
    """The step from which it logs again: what the curves hold from there on is deleted. Nothing is, without one."""
    after: ClientToken | None = None
    """The client's own token of before, if it only was away: the numbers of its batches go on."""


class SeriesName(_Body):
    """The name of a curve."""

    measure: CurveName
    layer: CurveName | None = None


class ColumnsBody(_Body):
    """Points of several curves at the same steps."""

    series: Annotated[list[SeriesName], Field(min_length=1, max_length=MOST_SERIES), at_most(MOST_SERIES)]
    steps: Annotated[list[Step], Field(min_length=1, max_length=MOST_STEPS), at_most(MOST_STEPS)]
    """Ascending."""
    times: Annotated[list[Time], Field(min_length=1, max_length=MOST_STEPS), at_most(MOST_STEPS)]
    """Seconds since the epoch, one a step."""
    values: Annotated[
        list[Annotated[list[Value], Field(min_length=1, max_length=MOST_STEPS), at_most(MOST_STEPS)]],
        Field(min_length=1, max_length=MOST_SERIES),
        at_most(MOST_SERIES),
    ]
    """For each of the series its value at each step."""

    @model_validator(mode="after")
    def _has_equal_sizes(self) -> Self:
        rows = [len(row) for row in self.values]
        if len(self.times) != len(self.steps) or rows != [len(self.steps)] * len(self.series):
            raise _bad_batch(
                f"expected {len(self.steps)} times and {len(self.series)} rows of {len(self.steps)} values, "
                f"found {len(self.times)} times and rows of {rows[:5]}"
            )
        _ = self.columns
        return self

    @property
    def columns(self) -> Columns:
        """As they are stored. Raises ValueError."""
        names = [Series(each.layer, each.measure) for each in self.series]
        steps, times = np.array(self.steps, np.int64), np.array(self.times, np.float64)
        try:
            return checked(Columns(names, steps, times, np.array(self.values, np.float64)))
        except BadBatch as error:
            raise _bad_batch(str(error)) from error


def _bad_batch(message: str) -> PydanticCustomError:
    return PydanticCustomError("bad_batch", "{message}", {"message": message})


class Batch(_Body):
    """Points that are written together, or not at all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": 1,
                    "columns": [
                        {
                            "series": [{"measure": "loss"}],
                            "steps": [0, 1],
                            "times": [1.8e9, 1.8e9],
                            "values": [[2.5, "NaN"]],
                        }
                    ],
                }
            ]
        }
    )

    number: Number
    """1 for the first batch of an attempt, then one more each time; a batch that comes again is not written again."""
    columns: Annotated[list[ColumnsBody], Field(max_length=MOST_COLUMNS), at_most(MOST_COLUMNS)]


class LogPart(_Body):
    """What the loop printed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"first_byte": 0, "text": "epoch 1\n"}]})

    first_byte: Annotated[int, Field(ge=0, le=EXACT), WHOLE]
    """How many bytes, in UTF-8, were printed before."""
    text: LogText


class End(_Body):
    """How the loop ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"how": "finished", "result": {"test_accuracy": 0.97}}]})

    how: Literal["finished", "failed", "cancelled", "paused"]
    result: Annotated[dict[Label, Value], Field(max_length=1000), at_most(1000)] = {}
    """Numbers of a run that finished."""
    message: Message = ""
    """Why a run failed."""
    ended_at: At | None = None
    """When it ended, in seconds since the epoch, if that was not now: of a run that is imported."""

    @property
    def outcome(self) -> Outcome:
        """The attempt's outcome."""
        match self.how:
            case "finished":
                numbers = {name: float(value) for name, value in self.result.items()}
                return Succeeded(result=TrackedResult(values=numbers))
            case "failed":
                return Failed(code="error", message=self.message or "the loop gave no reason")
            case "cancelled":
                return Cancelled()
            case "paused":
                return Paused()


class RunView(View):
    """What a client should know of its run."""

    id: int
    attempt: int
    applied: int
    """The number of the last batch that is written."""
    step: int
    """The step from which the client logs on, then the last one that is written."""
    wanted: Wanted | str
    """What its owner wants: a loop that is to pause or to be cancelled ends the run so."""
    stop: Stop | str | None
    """Why the service wants the loop to end."""
    left_out: int
    """Values of this batch that are not written: their curve has that step, or a later one."""
    lease: float
    """Seconds without a request after which the run counts as lost."""

    @classmethod
    def of(cls, now: Standing) -> Self:
        """The view of a run's standing."""
        lease = settings().tracked_lease.total_seconds()
        return cls(
            id=now.job_id,
            attempt=now.attempt,
            applied=now.applied,
            step=now.step,
            wanted=now.desired.wanted,
            stop=now.desired.stop,
            left_out=now.left_out,
            lease=lease,
        )


class EndView(View):
    """How a run stands after its end."""

    id: int
    state: State | str


class EnvironmentView(View):
    """Where an attempt's client runs."""

    attempt: int
    environment: dict[str, Any]
    """As the client described it; empty if it did not."""


@router.post("", status_code=201, response_model=RunView, responses=problems(*_ALWAYS[:3], SpecRejected))
def begin_run(asked: NewRun, key: Member, session: Session) -> Response:
    """Begin a run: a job that is running, and whose loop is the client's."""
    spec = TrackedJob(task="tracked", name=asked.name, tags=asked.tags, config=asked.config)
    begun = runs.begin(session, spec, asked.client, owner=key.user, settings=settings(), at=asked.began_at)
    return rendered(RunView.of(begun), status=201, location=f"/v1/jobs/{begun.job_id}")


@router.post("/{job_id}/return", responses=problems(*_ALWAYS, IllegalMove, AttemptEnded, SpecRejected))
def return_to_run(job: OwnedJob, asked: Return, _key: Member, session: Session) -> RunView:
    """Come back to a run that is lost or paused, or take it over from a client that is gone.

    With a step, the run goes back to it: what its curves hold from there on is deleted.
    """
    back = runs.come_back(session, job.id, asked.client, step=asked.step, after=asked.after, settings=settings())
    return RunView.of(back)


@router.post("/{job_id}/batches", responses=problems(*_ALWAYS, AttemptEnded, BatchOutOfOrder, SpecRejected))
def add_points(job: OwnedJob, batch: Batch, token: Token, _key: Member, session: Session) -> RunView:
    """Write points; each sign of life renews the lease."""
    columns = [each.columns for each in batch.columns]
    return RunView.of(runs.apply(session, job.id, token, batch.number, columns, settings()))


@router.put("/{job_id}/batches/{number}", responses=problems(*_ALWAYS, AttemptEnded, BatchOutOfOrder, SpecRejected))
def put_points(
    job: OwnedJob,
    number: Annotated[int, Path(ge=1, le=EXACT)],
    content: BatchContent,
    token: Token,
    _key: Member,
    session: Session,
) -> RunView:
    """Write points that are sent as bytes: 6 to 8 times as many a second as in JSON (`benchmarks/tracking.py`).

    Little-endian: the length of a head (4 bytes), the head in JSON, `{"columns": [{"series": [[layer, measure], …],
    "steps": n}, …]}`, then for each of the columns n steps (int64), n times (float64), and n values (float64) of each
    of its series.
    """
    try:
        columns = curves.decode(content)
    except BadBatch as error:
        raise BadRequest(str(error)) from error
    return RunView.of(runs.apply(session, job.id, token, number, columns, settings()))


@router.post("/{job_id}/heartbeat", responses=problems(*_ALWAYS, AttemptEnded, SpecRejected))
def renew_run(job: OwnedJob, token: Token, _key: Member, session: Session) -> RunView:
    """Show that the loop lives, and learn what its owner wants."""
    return RunView.of(runs.renew(session, job.id, token, settings()))


@router.post("/{job_id}/log", status_code=204, responses=problems(*_ALWAYS, AttemptEnded, SpecRejected))
def add_lines(job: OwnedJob, part: LogPart, token: Token, _key: Member, session: Session) -> None:
    """Keep what the loop printed; a part that comes again is kept once."""
    content = part.text.encode(errors="replace")
    runs.print_lines(session, job.id, token, part.first_byte, content, settings())


@router.post("/{job_id}/end", responses=problems(*_ALWAYS, AttemptEnded, SpecRejected))
def end_run(job: OwnedJob, asked: End, token: Token, _key: Member, session: Session) -> EndView:
    """End the run, or pause it: then its client may come back."""
    return EndView(id=job.id, state=runs.end(session, job.id, token, asked.outcome, settings(), at=asked.ended_at))


@router.get("/{job_id}/environment", responses=problems(BadRequest, Unauthorized, NotFound))
def show_environment(attempt: OwnedAttempt, session: Session) -> EnvironmentView:
    """Where the loop runs: what the client of an attempt told of itself."""
    return EnvironmentView(attempt=attempt.number, environment=runs.environment(session, attempt.id))
