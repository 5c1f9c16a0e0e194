"""Submissions: one job, many at once, or only what one would cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, SkipValidation
from sqlalchemy import orm

from api.dependencies.auth import Member
from api.dependencies.idempotency import ALL_MADE, MADE, Idempotent
from api.dependencies.session import Session
from api.problems import Responses, pointing_into, problems
from api.views.jobs import SubmittedView, View, WaitingView, created, rendered
from hsu_core.costs import Costs
from hsu_jobs import database, doorbell, lifecycle
from hsu_jobs.cluster import admission, quota, quotes
from hsu_jobs.cluster.quotes import Quote
from hsu_jobs.datasets import filling
from hsu_jobs.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    IdempotencyConflict,
    QuotaExceeded,
    SpecRejected,
    Unauthorized,
    UnderWay,
)
from hsu_jobs.lifecycle import Queued
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec, Specs, parse, parse_all
from hsu_jobs.states import State
from hsu_jobs.tables import ApiKey, Role

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_EXAMPLE: dict[str, Any] = {
    "name": "digits with half-space MHE",
    "dataset": {"kind": "digits"},
    "model": {"kind": "small_cnn"},
    "regularizer": {"kind": "mhe", "s": 2},
    "duration": {"epochs": 10},
}
_REFUSALS = problems(
    BadRequest, Unauthorized, Forbidden, UnderWay, QuotaExceeded, BodyTooLarge, IdempotencyConflict, SpecRejected
)
DryRun = Annotated[
    bool,
    Query(description="Queue nothing: check the spec, and tell what is to be expected. No Idempotency-Key counts."),
]


class MemoryView(View):
    """Bytes on the device during a step, without what libraries keep for themselves: an estimate."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """What the forward pass of the whole batch keeps for the backward pass."""
    data: int
    """The data set."""
    penalty: int
    """What the penalty keeps and needs in between, at the first recorded step: Gram matrices, poles, projections."""
    measures: int
    """What recording the measures of the largest layer takes."""
    total: int


class EvaluationCostView(View):
    """What an option of `evaluate` costs, once after the last step."""

    option: str
    forwards: int
    """Examples that go through the network, each time that one does."""
    backwards: int
    """Those of them through which a gradient goes back to the pixels."""
    flops: int
    """Floating-point operations in all: an estimate, for the linear probe an upper bound."""


class CostsView(View):
    """The costs of a training."""

    parameters: int
    flops_per_step: int
    """Floating-point operations of the network, forward and backward, whole batch."""
    penalty_share: float
    """The penalty's part of a step, in floating-point operations: an estimate."""
    memory: MemoryView
    curve_values: int
    """Numbers that its curves will hold."""
    curve_bytes: int
    """Their size when they are written, at most: 8 bytes a number, 16 a step."""
    evaluation: list[EvaluationCostView]
    """Of each option of `evaluate` that the spec asks for."""
    strength_flops: int
    """Operations that find the penalty's `strength`, once before the first step: an estimate; 0 without it."""

    @classmethod
    def of(cls, costs: Costs) -> Self:
        """The view of costs."""
        return cls(
            parameters=costs.parameters,
            flops_per_step=costs.flops,
            penalty_share=costs.penalty_share,
            memory=MemoryView(**costs.memory._asdict(), total=costs.memory.total),
            curve_values=costs.values,
            curve_bytes=8 * costs.values + 16 * costs.reports,
            evaluation=[EvaluationCostView(**each._asdict()) for each in costs.evaluation],
            strength_flops=costs.strength_flops,
        )


class DuplicateView(View):
    """A job that must give an equal result."""

    id: int
    state: State | str


class QuoteView(View):
    """What a job would cost and when it would start: not binding."""

    fingerprint: str
    total_steps: int
    costs: CostsView | None
    """Null for points."""
    waiting: WaitingView
    """Why it would wait if it were submitted now, and for how long."""
    seconds_per_step: float | None
    """The median of recent jobs with the same network, data, penalty, batch and machine; null if there was none."""
    seconds: float | None
    """The same for all steps, without what `evaluate` asks for at the end."""
    duplicates: list[DuplicateView]
    """The newest jobs with the same fingerprint: yours, or all users' for an admin; ten at most."""

    @classmethod
    def of(cls, spec: JobSpec, quote: Quote) -> Self:
        """The view of a quote."""
        pace = quote.seconds_per_step
        return cls(
            fingerprint=spec.fingerprint,
            total_steps=spec.total_steps,
            costs=CostsView.of(quote.costs) if quote.costs else None,
            waiting=WaitingView.of(quote.waiting),
            seconds_per_step=pace,
            seconds=None if pace is None else pace * spec.total_steps,
            duplicates=[DuplicateView(**each._asdict()) for each in quote.duplicates],
        )


class Bulk(BaseModel):
    """Jobs to be queued together."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"jobs": [_EXAMPLE]}]}
    )

    jobs: Annotated[Specs, SkipValidation]
    """Their specs."""


class QueuedView(View):
    """One of many jobs that have just been queued."""

    id: int
    name: str
    fingerprint: str
    duplicates: list[int]
    """The newest jobs with the same fingerprint that existed before; ten at most."""


class BulkView(View):
    """Jobs that have just been queued, in the order of their specs."""

    jobs: list[QueuedView]


QUOTED: Responses = {200: {"model": QuoteView, "description": "With `dry_run`: what is to be expected of it"}}


@router.post("", status_code=201, response_model=SubmittedView, responses=MADE | QUOTED | _REFUSALS)
def submit_job(
    asked: Annotated[JobSpec, SkipValidation, Body(examples=[_EXAMPLE])],
    key: Member,
    session: Session,
    once: Idempotent,
    dry_run: DryRun = False,  # noqa: FBT002
) -> Response:
    """Queue a job, or with `dry_run` only show what it would cost.

    With an Idempotency-Key, sending the same spec again gives the same answer, and makes no second job.
    """
    return _quoted(asked, key, session) if dry_run else once(partial(_submitted, asked, key, session))


@router.post("/bulk", status_code=201, response_model=BulkView, responses=ALL_MADE | _REFUSALS)
def submit_jobs(bulk: Bulk, key: Member, session: Session, once: Idempotent) -> Response:
    """Queue up to 1,000 jobs: all of them, or if anything is wrong with one, none.

    The `errors` then point at the fields of each, as in `/jobs/3/batch_size`.
    """
    return once(partial(_all_submitted, bulk.jobs, key, session))


def _read(asked: object, key: ApiKey, session: orm.Session) -> JobSpec:
    """The spec that a body asks for. It is parsed only now: the facts of an own data set are in the database."""
    with pointing_into("", asked):
        return parse(filling.filled(session, key, asked))


def _quoted(asked: object, key: ApiKey, session: orm.Session) -> Response:
    spec = _read(asked, key, session)
    admission.check(session, spec, settings(), key=key)
    return rendered(QuoteView.of(spec, quotes.quote(session, spec, settings(), key=key)))


def _submitted(asked: object, key: ApiKey, session: orm.Session) -> Response:
    spec = _read(asked, key, session)
    admission.check(session, spec, settings(), key=key)
    quota.require_room_for_jobs(session, key.user_id, 1, settings())
    (queued,) = _queue([spec], key, session)
    return created(SubmittedView.just(queued, spec, owner=key.user.name))


def _all_submitted(asked: object, key: ApiKey, session: orm.Session) -> Response:
    with pointing_into("jobs", asked):
        specs = parse_all(filling.filled_all(session, key, asked))
    admission.check_all(session, specs, settings(), key=key)
    quota.require_room_for_jobs(session, key.user_id, len(specs), settings())
    jobs = [
        QueuedView(id=queued.id, name=spec.name, fingerprint=spec.fingerprint, duplicates=queued.duplicates)
        for spec, queued in zip(specs, _queue(specs, key, session), strict=True)
    ]
    return rendered(BulkView(jobs=jobs), status=201)


def _queue(specs: Sequence[JobSpec], key: ApiKey, session: orm.Session) -> list[Queued]:
    queued = lifecycle.submit_all(session, specs, owner_id=key.user_id, sees_all=key.role is Role.ADMIN)
    database.after_commit(session, partial(doorbell.shared().ring, queued[-1].id))
    return queued
