"""Which trials of a study begin now? Those whose points may be chosen by the values that are known.

Trial n waits for all up to trial n − `at_once`, and is chosen by their values only. Others that have ended by chance
before them count as running: otherwise the points would depend on which job is faster, or is interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import ValidationError
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hsu_jobs.errors import SpecRejected
from hsu_jobs.spec import JobSpec, parse
from hsu_jobs.studies import members, metrics, values
from hsu_jobs.studies.plan import At, assigned
from hsu_jobs.studies.search import sampling, trials
from hsu_jobs.studies.search.spec import Search
from hsu_jobs.studies.search.trials import Trial
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import CellRow, SearchRow, StudyRow


def searches_of(study_id: int) -> Select[SearchRow]:
    """The arms that are searched, at each point of the axes, in order."""
    return select(SearchRow).where(SearchRow.study_id == study_id).order_by(SearchRow.number)


def ask(session: Session, study: StudyRow, cells: Sequence[CellRow]) -> list[CellRow]:
    """The cells of the trials that begin now; `cells`: those that the study has. The study must be locked."""
    spec = StudySpec.model_validate(study.spec)
    if spec.search is None:
        return []
    metric = metrics.searched(spec)
    runs = [run for run in members.of(session, study.id) if run.is_current]
    numbers = values.of(session, spec, runs)
    new: list[CellRow] = []
    for row in session.execute(searches_of(study.id)).scalars().all():
        there = trials.of(row, cells, runs, numbers, metric)
        for trial in _next(spec.search, row, there, higher_is_better=bool(metric.higher_is_better)):
            new.append(_cell(row, trial, number=len(cells) + len(new)))
    session.add_all(new)
    session.flush()
    return new


class Begun(NamedTuple):
    """How far a search is."""

    row: SearchRow
    budget: int
    """How many trials it gets."""
    begun: int
    """How many of them have a cell."""


def begun(session: Session, study: StudyRow, cells: Sequence[CellRow]) -> list[Begun]:
    """How many trials of each search of a study have begun; `cells`: all of the study."""
    search = StudySpec.model_validate(study.spec).search
    if search is None:
        return []
    return [
        Begun(
            row, trials.budget(search, trials.space_of(search, row)), sum(cell.search == row.number for cell in cells)
        )
        for row in session.execute(searches_of(study.id)).scalars().all()
    ]


def _next(search: Search, row: SearchRow, there: Sequence[Trial], *, higher_is_better: bool) -> Iterator[Trial]:
    """The trials of an arm that begin now."""
    every = list(there)
    space = trials.space_of(search, row)
    while len(every) < trials.budget(search, space):
        known = max(0, len(every) - search.at_once + 1)
        if not all(trial.has_ended for trial in every[:known]):
            return
        told = [*every[:known], *(trial._replace(has_ended=False, value=None) for trial in every[known:])]
        point = sampling.next_point(search, space, told, higher_is_better=higher_is_better) if space else {}
        every.append(Trial(len(every), None, point, has_ended=False))
        yield every[-1]


def _cell(row: SearchRow, trial: Trial, *, number: int) -> CellRow:
    spec = _spec(row, trial.point)
    return CellRow(
        study_id=row.study_id,
        number=number,
        arm=row.arm,
        at=row.at | trial.point,
        spec=spec and spec.model_dump(mode="json"),
        search=row.number,
        trial=trial.number,
    )


def _spec(row: SearchRow, point: At) -> JobSpec | None:
    """The spec at a point; None if there is none: values that are possible alone may not be so together."""
    try:
        return parse(assigned(row.spec, point))
    except (ValidationError, SpecRejected):
        return None
