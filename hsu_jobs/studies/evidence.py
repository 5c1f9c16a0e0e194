"""What is a study's table made of? Its cells, its runs, and the numbers of those that have succeeded."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from hsu_jobs.studies import members, plan, queueing, values
from hsu_jobs.studies.members import Member
from hsu_jobs.studies.metrics import Metric
from hsu_jobs.studies.plan import At
from hsu_jobs.studies.search import asking
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.studies.values import Values
from hsu_jobs.tables import CellRow, SearchRow, StudyRow


class Evidence(NamedTuple):
    """Everything that is known of a study now."""

    study: StudyRow
    spec: StudySpec
    cells: dict[int, CellRow]
    runs: list[Member]
    """All, also those that were run again."""
    numbers: dict[int, Values]
    """Of each current run that has succeeded."""
    searches: list[SearchRow]
    """The arms that are searched, at each point of the axes."""

    @property
    def labels(self) -> dict[int, str]:
        """What each cell is called."""
        return {number: label(cell) for number, cell in self.cells.items()}

    def of_cell(self, number: int) -> list[Member]:
        """The current runs of a cell."""
        return [run for run in self.runs if run.is_current and run.cell == number]

    def done(self, number: int) -> list[Member]:
        """Those of them that have succeeded."""
        return [run for run in self.of_cell(number) if run.has_succeeded]

    def value(self, run: Member, metric: Metric) -> float | None:
        """A run's number; None if it has none."""
        return self.numbers.get(run.id, {}).get(metric.name)


def gather(session: Session, study: StudyRow) -> Evidence:
    """What is known of a study now."""
    spec = StudySpec.model_validate(study.spec)
    cells = {cell.number: cell for cell in sorted(session.execute(queueing.cells_of(study.id)).scalars(), key=_place)}
    places = {number: place for place, number in enumerate(cells)}
    runs = sorted(members.of(session, study.id), key=lambda run: places[run.cell])
    current = [run for run in runs if run.is_current]
    searches = list(session.execute(asking.searches_of(study.id)).scalars())
    return Evidence(study, spec, cells, runs, values.of(session, spec, current), searches)


def _place(cell: CellRow) -> tuple[bool, int, int, int]:
    """Where a cell stands: trials search by search in their order, whichever of them began first; then others."""
    return (cell.trial is None, cell.search or 0, cell.trial or 0, cell.number)


def label(cell: CellRow) -> str:
    """What a cell is called: `mhe`, `mhe at lr=0.05`, `mhe trial 3 at lr=0.07`."""
    return label_of(cell.arm if cell.trial is None else f"{cell.arm} trial {cell.trial}", cell.at)


def label_of(arm: str, at: At) -> str:
    """What the cell of an arm at a point of the axes is called."""
    return f"{arm} at {plan.shown(at)}" if at else arm
