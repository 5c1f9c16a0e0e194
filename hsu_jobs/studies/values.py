"""Which number stands for a run? One of its result, or one of its curves, at the evaluation that the study says.

What is read from curves is kept with the member: curves of runs that have ended do not change, and reading a thousand
of them takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hsu_jobs import curves
from hsu_jobs.curves import Curve
from hsu_jobs.errors import NotFound
from hsu_jobs.studies import metrics
from hsu_jobs.studies.members import Member
from hsu_jobs.studies.metrics import VALIDATION, Metric
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import Attempt, MemberRow

Values = dict[str, float | None]
"""By metric; None for a number that a run does not have."""


def of(session: Session, study: StudySpec, members: Sequence[Member]) -> dict[int, Values]:
    """The numbers of the members that have succeeded, by member."""
    every = metrics.of(study)
    from_curves = [metric for metric in every if is_from_curves(metric, study)]
    found: dict[int, Values] = {}
    for member in members:
        if not member.has_succeeded:
            continue
        kept = member.from_curves
        if from_curves and (kept is None or any(metric.name not in kept for metric in from_curves)):
            kept = _read(session, study, member, from_curves)
            session.execute(update(MemberRow).where(MemberRow.id == member.id).values(values=kept))
        found[member.id] = {
            metric.name: _number((kept or {}).get(metric.name) if metric in from_curves else _of_result(member, metric))
            for metric in every
        }
    return found


def is_from_curves(metric: Metric, study: StudySpec) -> bool:
    """Whether a metric is read from curves, and not from the result."""
    return metric.layers is not None or study.value != "last"


def _of_result(member: Member, metric: Metric) -> object:
    result = member.result or {}
    holder = result.get("values", {}) if result.get("task") == "tracked" else result
    return holder.get(metric.name) if isinstance(holder, dict) else None


def _number(stored: object) -> float | None:
    """A finite number of JSON; a NaN, an infinity or null is none."""
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not math.isfinite(stored):
        return None
    return float(stored)


def _read(session: Session, study: StudySpec, member: Member, wanted: Sequence[Metric]) -> dict[str, Any]:
    """The numbers that a run's curves give, as they are kept: null where there is no curve."""
    assert member.job_id is not None
    at = _best_validation(session, member.job_id) if study.value == "best_validation" else None
    return {metric.name: _finite(_from_curves(session, study, member, metric, at)) for metric in wanted}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _from_curves(session: Session, study: StudySpec, member: Member, metric: Metric, at: int | None) -> float | None:
    assert member.job_id is not None
    if metric.layers is not None:
        last = _last_step(session, member.job_id) if at is None else at
        of_layers = [
            curve
            for curve in _curves(session, member.job_id, metric.measure, last=last)
            if _is_of(curve, metric.layers)
        ]
        return _mean([float(curve.values[-1]) for curve in of_layers if len(curve.values)])
    whole = [curve for curve in _curves(session, member.job_id, metric.measure) if curve.layer is None]
    if not whole or not len(whole[0].values):
        return _number(_of_result(member, metric))
    (curve,) = whole
    if study.value == "best_validation":
        before = curve.values[curve.steps <= at] if at is not None else curve.values
        return float(before[-1]) if len(before) else None
    best = np.nanmin if metric.higher_is_better is False else np.nanmax
    return float(best(curve.values)) if not np.isnan(curve.values).all() else None


def _is_of(curve: Curve, pattern: str) -> bool:
    return curve.layer is not None and fnmatchcase(curve.layer, pattern)


def _curves(session: Session, job_id: int, measure: str, *, last: int = curves.LAST_STEP) -> list[Curve]:
    """The curves of a measure; none where a run has not recorded it."""
    first = last if last != curves.LAST_STEP else 0
    try:
        found = curves.read(session, job_id, measures=(measure,), first=first, last=last)
        if first and not any(len(curve.values) for curve in found):
            return curves.read(session, job_id, measures=(measure,), last=last)
    except NotFound:
        return []
    return found


def _last_step(session: Session, job_id: int) -> int:
    """The last step that was recorded."""
    return session.execute(select(func.max(Attempt.recorded)).where(Attempt.job_id == job_id)).scalar_one() or 0


def _best_validation(session: Session, job_id: int) -> int | None:
    """The step of the evaluation with the best validation metric, the first of equal ones."""
    for curve in _curves(session, job_id, VALIDATION):
        if curve.layer is None and len(curve.values) and not np.isnan(curve.values).all():
            return int(curve.steps[np.nanargmax(curve.values)])
    return None


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None
