"""What was measured? Every point of the chosen curves between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs.curves.extracts import Part, extracts
from hsu_jobs.curves.layout import REAL, STEP, Reals, Steps
from hsu_jobs.curves.lineage import Choice, Line, line_of, origin_of, shifted

_NO_POINTS = Part(np.empty(0, STEP), np.empty(0, REAL), np.empty(0, REAL))


class Curve(NamedTuple):
    """One series, in ascending steps."""

    layer: str | None
    measure: str
    reference: Reference
    steps: Steps
    times: Reals
    """Seconds since the epoch."""
    values: Reals


def read(session: Session, job_id: int, choice: Choice | None = None, **fields: Any) -> list[Curve]:
    """Every point of the chosen curves of a job; `choice`, or the fields of one.

    A fork's curves begin with those of the jobs from which it continues. Raises `NotFound` if a layer or a measure is
    named that no curve has.
    """
    choice = choice or Choice(**fields)
    return read_line(session, line_of(session, job_id, choice), choice)


def read_line(session: Session, line: Line, choice: Choice) -> list[Curve]:
    """Every point of curves that were found before."""
    parts: dict[Series, list[Part]] = {name: [] for name in line.references}
    for stretch in line.stretches:
        for name, part in extracts(session, stretch):
            assert isinstance(part, Part)  # no width was given
            parts[name].append(part)
    return [_curve(name, line.references[name], of_one, choice) for name, of_one in parts.items()]


def _curve(name: Series, reference: Reference, parts: Sequence[Part], choice: Choice) -> Curve:
    steps, times, values = (np.concatenate(column) for column in zip(_NO_POINTS, *parts, strict=True))
    if np.any(np.diff(steps) < 0):  # blocks of different series may overlap while they are small
        order = np.argsort(steps)
        steps, times, values = steps[order], times[order], values[order]
    origin = origin_of(reference, choice)
    return Curve(*name, shifted(reference, origin), steps, times, values if origin is None else values - origin)
