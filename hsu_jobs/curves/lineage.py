"""Which jobs hold a job's curves, and under which numbers? A fork's curves begin with those of the jobs before it.

Knows rows. An unknown name is reported with the names that are like it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, assert_never

from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs import queries
from hsu_jobs.errors import NotFound

LAST_STEP = 2**63 - 1
Origin = Literal["random", "optimum", "bound"]
"""The reference that may be subtracted from a curve's values; `bound` is the proven optimum where there is one."""


class Choice(NamedTuple):
    """Which curves, and which of their steps."""

    layers: Collection[str] = ()
    """All, and the model itself, if none is named."""
    measures: Collection[str] = ()
    first: int = 0
    last: int = LAST_STEP
    """Both included."""
    relative_to: Origin | None = None
    """Subtract this reference from values and references, and leave out the curves that do not have it."""


class Stretch(NamedTuple):
    """The steps at which one job of a line measured the chosen curves."""

    job_id: int
    first: int
    last: int
    series: dict[int, Series]
    """Names by number."""


class Line(NamedTuple):
    """Where the chosen curves of a job are, from the oldest job of the line to itself."""

    stretches: Sequence[Stretch]
    references: dict[Series, Reference]
    """For every chosen curve, in the order in which they began."""


def line_of(session: Session, job_id: int, choice: Choice) -> Line:
    """Find the chosen curves of a job. Raises `NotFound` if a layer or a measure is named that no curve has."""
    stretches, references, known = [], {}, set()
    for ancestor, before in reversed(session.execute(queries.lineage(job_id)).all()):
        last = choice.last if before is None else min(choice.last, before - 1)
        mine = {}
        for row in session.execute(queries.series_of(ancestor)).scalars():
            name, reference = (
                Series(row.layer, row.measure),
                Reference(row.random, row.optimum, row.bound, row.bound_source),
            )
            known.add(name)
            if _is_chosen(name, reference, choice):
                mine[row.number], references[name] = name, reference
        stretches.append(Stretch(ancestor, choice.first, last, mine))
    if known:
        _require(choice.layers, {name.layer for name in known if name.layer}, f"job {job_id} has no curve of the layer")
        _require(choice.measures, {name.measure for name in known}, f"job {job_id} has no curve of the measure")
    return Line([stretch for stretch in stretches if stretch.series], references)


Lines = dict[int, Line]
"""The chosen curves of several jobs, by job."""


def find(session: Session, job_ids: Iterable[int], choice: Choice) -> Lines:
    """Find the chosen curves of several jobs. Raises `NotFound` as `line_of` does."""
    return {job_id: line_of(session, job_id, choice) for job_id in job_ids}


def are_there(session: Session, job_id: int, choice: Choice) -> bool:
    """Whether a job has a curve of every layer and measure that is named."""
    try:
        line_of(session, job_id, choice)
    except NotFound:
        return False
    return True


def _is_chosen(name: Series, reference: Reference, choice: Choice) -> bool:
    return (
        (not choice.layers or name.layer in choice.layers)
        and (not choice.measures or name.measure in choice.measures)
        and (choice.relative_to is None or origin_of(reference, choice) is not None)
    )


def _require(wanted: Iterable[str], there: Collection[str], complaint: str) -> None:
    for name in wanted:
        if name not in there:
            alike = difflib.get_close_matches(name, there, n=5, cutoff=0.5) or sorted(there)
            raise NotFound(f"{complaint} {name!r}; there are {', '.join(alike)}")


def shifted(reference: Reference, origin: float | None) -> Reference:
    """The reference relative to an origin."""
    if origin is None:
        return reference
    random, optimum, bound = (None if value is None else value - origin for value in reference[:3])
    return Reference(random, optimum, bound, reference.bound_source)


def origin_of(reference: Reference, choice: Choice) -> float | None:
    """The value that is subtracted from a curve, if one is."""
    match choice.relative_to:
        case None:
            return None
        case "random":
            return reference.random
        case "optimum":
            return reference.optimum
        case "bound":
            return reference.bound if reference.optimum is None else reference.optimum
        case _:
            assert_never(choice.relative_to)
