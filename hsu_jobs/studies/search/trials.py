"""Which trials of a search are there, and what have they given? Read from the cells and the runs of the study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hsu_jobs.spec import read
from hsu_jobs.states import TERMINAL
from hsu_jobs.studies.members import Member
from hsu_jobs.studies.metrics import Metric
from hsu_jobs.studies.plan import At, applying
from hsu_jobs.studies.search.spec import Search, Space
from hsu_jobs.studies.values import Values
from hsu_jobs.tables import CellRow, Origin, SearchRow


class Trial(NamedTuple):
    """A point of the space, and what its runs have given."""

    number: int
    """From 0 on, in the search of its arm."""
    cell: int | None
    """Null until it is in the database."""
    point: At
    """The values of the searched fields."""
    has_ended: bool
    """Whether no run of it will change any more."""
    value: float | None = None
    """The mean over its seeds; None until it has ended, and if a run of it has no value."""


def of(
    row: SearchRow,
    cells: Iterable[CellRow],
    runs: Sequence[Member],
    numbers: Mapping[int, Values],
    metric: Metric,
) -> list[Trial]:
    """The trials of an arm in order; `numbers`: of each run that has succeeded."""
    own = sorted((cell for cell in cells if cell.search == row.number), key=lambda cell: cell.trial or 0)
    found = []
    for number, cell in enumerate(own):
        of_cell = [run for run in runs if run.is_current and run.cell == cell.number and run.origin != Origin.ENLISTED]
        has_ended = all(run.state in TERMINAL for run in of_cell)
        value = _mean([numbers.get(run.id, {}).get(metric.name) for run in of_cell]) if has_ended else None
        point = {pointer: each for pointer, each in cell.at.items() if pointer not in row.at}
        found.append(Trial(number, cell.number, point, has_ended, value))
    return found


def best(trials: Iterable[Trial], *, higher_is_better: bool) -> Trial | None:
    """The trial with the best value, the first of equal ones; None before the first value."""
    valued = [(trial.value if higher_is_better else -trial.value, trial) for trial in trials if trial.value is not None]
    return max(valued, key=lambda each: each[0])[1] if valued else None


def space_of(search: Search, row: SearchRow) -> Space:
    """The fields that are searched in an arm: without a penalty, those of penalties are not among them."""
    tree = read(row.spec).model_dump(mode="json")
    return {pointer: search.space[pointer] for pointer in applying(search.space, tree)}


def budget(search: Search, space: Space) -> int:
    """How many trials an arm gets."""
    return search.trials if space else 1


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of all; None if there is none, or if one is not known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
