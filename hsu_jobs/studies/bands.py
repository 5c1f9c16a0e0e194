"""How do the curves of a cell's runs look together? Their mean with its interval, their minimum and their maximum.

Made in buckets of steps from the summaries of the stored curves, as charts are: the length of a curve hardly matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from hsu_core.outcomes import Series
from hsu_jobs import curves
from hsu_jobs.curves import Choice, Lines, Sampled
from hsu_jobs.curves.layout import Reals, Steps
from hsu_jobs.errors import NotFound
from hsu_jobs.results import Frozen
from hsu_jobs.studies import members, queueing
from hsu_jobs.studies.evidence import label
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import StudyRow


class BandView(Frozen):
    """One curve of all runs of a cell, in columns: an entry for each bucket in which a run has a point."""

    cell: str
    layer: str | None
    measure: str
    steps: list[int]
    """Where each bucket begins."""
    runs: list[int]
    """How many have a finite value in it."""
    mean: list[float | None]
    """Of the last values that the runs have in the bucket."""
    low: list[float | None]
    """Of the interval of the mean, Student's t; null with fewer than two runs. It is of this bucket alone."""
    high: list[float | None]
    min: list[float | None]
    """The least value of all runs."""
    max: list[float | None]


class BandsView(Frozen):
    """The curves of a study, in the same buckets of steps."""

    study: int
    width: int
    """Steps in a bucket; it begins at a multiple of this."""
    confidence: float
    curves: list[BandView]


def of(session: Session, study: StudyRow, choice: Choice, *, max_points: int) -> BandsView:
    """The chosen curves of a study. Raises `NotFound` if runs have curves, and none has these."""
    spec = StudySpec.model_validate(study.spec)
    labels = {cell.number: label(cell) for cell in session.execute(queueing.cells_of(study.id)).scalars()}
    runs = [run for run in members.of(session, study.id) if run.is_current and run.job_id is not None]
    cells = {run.job_id: run.cell for run in runs if run.job_id is not None}
    lines = _lines(session, list(cells), choice)
    chart = curves.sample(session, lines, choice, max_points=max_points)
    grouped: dict[tuple[int, Series], list[Sampled]] = {}
    for curve in chart.curves:
        grouped.setdefault((cells[curve.job_id], Series(curve.layer, curve.measure)), []).append(curve)
    return BandsView(
        study=study.id,
        width=chart.width,
        confidence=spec.confidence,
        curves=[_band(labels[cell], name, group, spec.confidence) for (cell, name), group in grouped.items()],
    )


def _lines(session: Session, job_ids: Sequence[int], choice: Choice) -> Lines:
    """Where the chosen curves of runs are; a run that measured nothing, or less than others, has none."""
    found: Lines = {}
    missing: NotFound | None = None
    for job_id in job_ids:
        try:
            found |= curves.find(session, [job_id], choice)
        except NotFound as error:
            missing = error
    if missing and not any(line.references for line in found.values()):
        raise missing
    return found


def _band(cell: str, name: Series, runs: Sequence[Sampled], confidence: float) -> BandView:
    buckets = np.unique(np.concatenate([run.buckets.first for run in runs]))
    columns = _together(buckets, runs, confidence)
    numbers: Mapping[str, list[float | None]] = {
        column: [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]
        for column, values in columns.numbers.items()
    }
    return BandView(
        cell=cell, layer=name.layer, measure=name.measure, steps=buckets.tolist(), runs=columns.runs.tolist(), **numbers
    )


class _Columns(NamedTuple):
    """What the runs have in each bucket; NaN where there is no number."""

    runs: Steps
    numbers: dict[str, Reals]


def _together(buckets: Steps, runs: Sequence[Sampled], confidence: float) -> _Columns:
    from scipy.special import stdtrit

    last, low, high = (np.full((len(runs), len(buckets)), np.nan) for _ in range(3))
    for row, run in enumerate(runs):
        places = np.searchsorted(buckets, run.buckets.first)
        last[row, places], low[row, places], high[row, places] = run.buckets.last, run.buckets.low, run.buckets.high
    last[~np.isfinite(last)] = np.nan
    count = np.isfinite(last).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(last, axis=0) / count
        sd = np.sqrt(np.nansum((last - mean) ** 2, axis=0) / (count - 1))
        half = stdtrit(count - 1, (1 + confidence) / 2) * sd / np.sqrt(count)
    half[count < 2] = np.nan
    least, most = np.fmin.reduce(low, axis=0), np.fmax.reduce(high, axis=0)
    numbers = {"mean": mean, "low": mean - half, "high": mean + half, "min": least, "max": most}
    return _Columns(count, numbers)
