"""Studies: many jobs that are run to be compared, and what they show."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy import orm

from api.dependencies.auth import Member, Viewer
from api.dependencies.curve_query import Chosen
from api.dependencies.idempotency import MADE, Idempotent
from api.dependencies.session import Session
from api.dependencies.studies import ChangedStudy, SeenStudy, studies_visible_to
from api.problems import Responses, problems
from api.views.each_row import shown
from api.views.jobs import View, rendered
from api.views.studies import StudyPage, StudyQuoteView, StudySummary, StudyView
from api.views.study_tables import TEXTS, TableFormat
from hsu_core.spec.values import EXACT, Spec, at_most
from hsu_jobs import database, doorbell
from hsu_jobs.errors import (
    BadRequest,
    Forbidden,
    IdempotencyConflict,
    NotFound,
    QuotaExceeded,
    SpecRejected,
    StudyNotEnded,
    Unauthorized,
    UnderWay,
)
from hsu_jobs.settings import settings
from hsu_jobs.spec import Tag
from hsu_jobs.studies import bands, examples, quoting, requests, tabulating
from hsu_jobs.studies.bands import BandsView
from hsu_jobs.studies.examples import StudyExamples
from hsu_jobs.studies.names import ArmName, Pointer
from hsu_jobs.studies.requests import Changed
from hsu_jobs.studies.spec import MOST_ARMS, NumberOrSeeds, Patch, StudySpec
from hsu_jobs.studies.table import Table
from hsu_jobs.tables import ApiKey, StudyRow

router = APIRouter(prefix="/v1/studies", tags=["studies"])

_EXAMPLE: dict[str, Any] = {
    "name": "does spreading help on digits?",
    "base": {"dataset": {"kind": "digits"}, "model": {"kind": "small_cnn"}, "duration": {"epochs": 10}},
    "arms": {"mhe": {"regularizer": {"kind": "mhe"}}, "mgd": {"regularizer": {"kind": "mgd"}}},
    "over": {"/optimizer/lr": [0.05, 0.1]},
    "seeds": 6,
    "metrics": ["test_accuracy", "mhe_s2_half@conv*"],
}
_ALWAYS = (BadRequest, Unauthorized, NotFound)
_CHANGING = (*_ALWAYS, Forbidden)
MOST_POINTS = 5_000
DryRun = Annotated[bool, Query(description="Queue nothing: check the study, and tell what is to be expected.")]
QUOTED: Responses = {200: {"model": StudyQuoteView, "description": "With `dry_run`: what is to be expected of it"}}


class Extension(Spec):
    """What is added to a study."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"seeds": 4}]})

    seeds: NumberOrSeeds | None = None
    """How many more, or which."""
    arms: Annotated[
        dict[ArmName, Patch],
        Field(max_length=MOST_ARMS, json_schema_extra={"additionalProperties": False}),
        at_most(MOST_ARMS),
    ] = Field(default={})
    """Merge patches of the study's base."""


class Enlistment(Spec):
    """Jobs that are counted as runs of an arm."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"arm": "ours", "tag": "lab-baseline"}]})

    arm: ArmName
    """One of the study's, or a new one."""
    at: Annotated[
        dict[Pointer, Any], Field(max_length=8, json_schema_extra={"additionalProperties": False}), at_most(8)
    ] = Field(default={})
    """The point of the axes."""
    tag: Tag
    """Of jobs and tracked runs that have succeeded."""


class EnlistedView(View):
    """How many runs a study has got."""

    enlisted: int


@router.post(
    "",
    status_code=201,
    response_model=StudyView,
    responses=MADE
    | QUOTED
    | problems(BadRequest, Unauthorized, Forbidden, UnderWay, QuotaExceeded, IdempotencyConflict, SpecRejected),
)
def submit_study(
    asked: Annotated[StudySpec, Body(examples=[_EXAMPLE])],
    key: Member,
    session: Session,
    once: Idempotent,
    dry_run: DryRun = False,  # noqa: FBT002
) -> Response:
    """Queue the jobs of a study, or with `dry_run` only show what it would cost.

    The study is checked as a whole first: if anything is wrong, nothing is queued. An arm `baseline` without a penalty
    is added unless the study names its own. The jobs are ordinary ones, with the tags `study:ID` and `arm:NAME`.
    """
    if dry_run:
        pinned, cells = requests.checked(session, asked, settings(), key=key)
        return rendered(StudyQuoteView.of(quoting.quote(session, pinned, cells, settings(), key=key)))
    return once(partial(_begun, asked, key, session))


def _begun(asked: StudySpec, key: ApiKey, session: orm.Session) -> Response:
    changed = requests.begin(session, asked, settings(), key=key)
    return rendered(_seen(session, changed), status=201, location=f"{router.prefix}/{changed.study.id}")


@router.get("", responses=problems(BadRequest, Unauthorized))
def list_studies(
    key: Viewer,
    session: Session,
    cursor: Annotated[int | None, Query(ge=1, le=EXACT, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> StudyPage:
    """Your studies, the newest first; all users' for an admin."""
    chosen = studies_visible_to(key).order_by(StudyRow.id.desc())
    chosen = chosen if cursor is None else chosen.where(StudyRow.id < cursor)
    rows = session.execute(chosen.limit(limit + 1)).scalars().all()
    next_cursor = str(rows[limit - 1].id) if len(rows) > limit else None
    return StudyPage(studies=shown("list of studies", rows[:limit], StudySummary.of), next_cursor=next_cursor)


@router.get("/{study_id}", responses=problems(*_ALWAYS))
def show_study(study: SeenStudy, session: Session) -> StudyView:
    """A study: its cells, and how far their runs are."""
    return StudyView.seen(session, study)


@router.delete("/{study_id}", status_code=204, responses=problems(*_CHANGING, StudyNotEnded))
def delete_study(study: ChangedStudy, session: Session) -> None:
    """Delete a study, all of whose own jobs have ended. The jobs stay."""
    requests.forget(session, study)


@router.post("/{study_id}/pause", responses=problems(*_CHANGING))
def pause_study(study: ChangedStudy, session: Session) -> StudyView:
    """Keep the study's own jobs from running until it is resumed; running ones first save their state."""
    return StudyView.seen(session, requests.pause(session, study))


@router.post("/{study_id}/resume", responses=problems(*_CHANGING))
def resume_study(study: ChangedStudy, session: Session) -> StudyView:
    """Let the study's own jobs run again, and queue those that are still to be queued."""
    return _seen(session, requests.resume(session, study, settings()))


@router.post("/{study_id}/cancel", responses=problems(*_CHANGING))
def cancel_study(study: ChangedStudy, session: Session) -> StudyView:
    """Stop the study's own jobs. Jobs that were there before, and that it only counts, go on."""
    return StudyView.seen(session, requests.cancel(session, study))


@router.post("/{study_id}/extend", responses=problems(*_CHANGING, QuotaExceeded, SpecRejected))
def extend_study(study: ChangedStudy, asked: Extension, key: Member, session: Session) -> StudyView:
    """Add seeds or arms. The table tells it, since whoever stops when the numbers please finds too much."""
    new = requests.extend(session, study, settings(), key=key, seeds=asked.seeds or (), arms=asked.arms)
    return _seen(session, new)


@router.post("/{study_id}/retry", responses=problems(*_CHANGING, QuotaExceeded))
def retry_study(study: ChangedStudy, session: Session) -> StudyView:
    """Run again only what failed or was cancelled, from the last checkpoints."""
    return _seen(session, requests.retry(session, study, settings()))


@router.post("/{study_id}/enlist", responses=problems(*_CHANGING, SpecRejected))
def enlist_jobs(study: ChangedStudy, asked: Enlistment, key: Member, session: Session) -> EnlistedView:
    """Count finished jobs or tracked runs that have a tag as runs of an arm, which may be a new one."""
    count = requests.enlist(session, study, key=key, arm=asked.arm, at=asked.at, tag=asked.tag)
    return EnlistedView(enlisted=count)


@router.get("/{study_id}/table", response_model=Table, responses=TEXTS | problems(*_ALWAYS))
def show_table(
    study: SeenStudy,
    session: Session,
    written: Annotated[TableFormat, Query(alias="format")] = TableFormat.JSON,
) -> Response:
    """What a study shows, as far as its runs have ended: each cell, each contrast with the baseline, each run.

    docs/statistics.md explains every number.
    """
    return written.response(tabulating.tabulate(session, study))


@router.get("/{study_id}/curves", responses=problems(*_ALWAYS))
def read_bands(
    study: SeenStudy,
    choice: Chosen,
    session: Session,
    max_points: Annotated[int, Query(ge=1, le=MOST_POINTS, description="Buckets of steps, at most.")] = 500,
) -> BandsView:
    """The curves of a study: of each cell the mean over its runs with its interval, their minimum and maximum."""
    return bands.of(session, study, choice, max_points=max_points)


@router.get("/{study_id}/examples", responses=problems(*_ALWAYS))
def compare_examples(study: SeenStudy, session: Session) -> StudyExamples:
    """The cells of a study beside the baseline, on the same test examples: would new examples show a difference?"""
    return examples.of_study(session, study)


def _seen(session: orm.Session, changed: Changed) -> StudyView:
    """The view of a study whose new jobs the workers are to hear of."""
    if changed.queued:
        database.after_commit(session, partial(doorbell.shared().ring, changed.queued[-1]))
    return StudyView.seen(session, changed.study)
