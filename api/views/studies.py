"""What do answers about studies look like?"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from sqlalchemy.orm import Session

from api.views.jobs import View
from hsu_jobs.states import Wanted
from hsu_jobs.studies import evidence, members, queueing
from hsu_jobs.studies.plan import At
from hsu_jobs.studies.quoting import Quote
from hsu_jobs.studies.search import asking
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import CellRow, StudyRow


class StudyCellView(View):
    """A cell: an arm at a point of the axes."""

    number: int
    label: str
    """The arm, and its point of the axes: `mhe`, `mhe at lr=0.05`."""
    arm: str
    at: At
    runs: dict[str, int]
    """How many are in each state of a job; those without one are `unqueued`."""


class StudySearchView(View):
    """The search of an arm, at a point of the axes."""

    label: str
    arm: str
    at: At
    trials: int
    """How many it gets; each is a cell."""
    begun: int


class StudyView(View):
    """A study, and how far it is."""

    id: int
    name: str
    owner: str
    spec: StudySpec
    wanted: Wanted | str
    """What its owner wants: a study that is to pause or to be cancelled queues nothing."""
    runs: dict[str, int]
    """How many are in each state of a job; those without one are `unqueued`."""
    has_ended: bool
    """Whether no run will change any more."""
    gpu_seconds: float
    """That its runs have taken until now."""
    gpu_seconds_left: float | None
    """Expected; null before the first run has succeeded."""
    cells: list[StudyCellView]
    searches: list[StudySearchView]
    """Of each arm, if the study has a search."""
    extensions: list[dict[str, Any]]
    """When it was extended, by what, and how many runs had ended by then."""
    created_at: datetime

    @classmethod
    def seen(cls, session: Session, study: StudyRow) -> Self:
        """The view of a study with its runs."""
        cells = session.execute(queueing.cells_of(study.id)).scalars().all()
        runs = members.of(session, study.id)
        searches = asking.begun(session, study, cells)
        unasked = sum(search.budget - search.begun for search in searches)
        spec = StudySpec.model_validate(study.spec)
        progress = members.progress(runs, unasked=unasked * len(spec.all_seeds))
        return cls(
            id=study.id,
            name=study.name,
            owner=study.owner.name,
            spec=spec,
            wanted=study.wanted,
            runs=progress.states,
            has_ended=members.have_ended(runs, wanted=study.wanted) and (not unasked or study.wanted == Wanted.CANCEL),
            gpu_seconds=progress.gpu_seconds,
            gpu_seconds_left=progress.gpu_seconds_left,
            cells=[_cell(cell, [run for run in runs if run.cell == cell.number]) for cell in cells],
            searches=[_search(search) for search in searches],
            extensions=study.extensions,
            created_at=study.created_at,
        )


def _search(search: asking.Begun) -> StudySearchView:
    row = search.row
    label = evidence.label_of(row.arm, row.at)
    return StudySearchView(label=label, arm=row.arm, at=row.at, trials=search.budget, begun=search.begun)


def _cell(cell: CellRow, runs: list[members.Member]) -> StudyCellView:
    states = members.progress(runs).states
    return StudyCellView(number=cell.number, label=evidence.label(cell), arm=cell.arm, at=cell.at, runs=states)


class StudySummary(View):
    """A study in a list."""

    id: int
    name: str
    owner: str
    wanted: Wanted | str
    created_at: datetime

    @classmethod
    def of(cls, study: StudyRow) -> Self:
        """The view of a row."""
        fields = {name: getattr(study, name) for name in cls.model_fields if name != "owner"}
        return cls(**fields, owner=study.owner.name)


class StudyPage(View):
    """A page of studies, the newest first."""

    studies: list[StudySummary]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


class StudyCellQuoteView(View):
    """What a run of a cell would cost."""

    label: str
    total_steps: int
    seconds_per_step: float | None
    """The median of recent jobs with the same network, data, penalty, batch and machine; null if there was none."""
    curve_bytes: int
    """At most."""


class StudyQuoteView(View):
    """What a study would cost: not binding."""

    jobs: int
    """Runs in all."""
    reused: int
    """Those for which a job is there already."""
    gpu_seconds: float | None
    """Of the new jobs, without what `evaluate` asks for; null if the pace of a cell is not known."""
    curve_bytes: int
    """Of the new jobs, at most."""
    ends_in: float | None
    """Seconds, if the workers of the pool did nothing else; null if that is not known."""
    cells: list[StudyCellQuoteView]

    @classmethod
    def of(cls, quote: Quote) -> Self:
        """The view of a quote."""
        cells = [StudyCellQuoteView(**cell._asdict()) for cell in quote.cells]
        return cls(**quote._asdict() | {"cells": cells})
