"""How are energy curves kept? As blocks: a flush is one row that holds a matrix of steps × series.

Knows bytes and arrays. Knows nothing of training; the fence is the caller's, in the same transaction
(`lifecycle.progress`). NaN and infinities come back as they were written, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_core.outcomes import Reference, Series
from hsu_jobs import queries
from hsu_jobs.tables import Block, SeriesRow

_STEP = np.dtype("<i8")
_REAL = np.dtype("<f8")
_LAST_STEP = 2**63 - 1
_NOTHING = Reference(random=None, optimum=None)

Origin = Literal["random", "optimum"]
"""The reference from which a curve's values may be counted."""


class Point(NamedTuple):
    """Everything that was recorded at one step."""

    step: int
    time: float
    """Seconds since the epoch."""
    values: Mapping[Series, float]


class Curve(NamedTuple):
    """One series, in ascending steps."""

    layer: str | None
    measure: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    reference: Reference


def write(
    session: Session,
    job_id: int,
    points: Sequence[Point],
    *,
    references: Mapping[Series, Reference] = MappingProxyType({}),
) -> None:
    """Append points, one block for each set of series among them; points already written are written once.

    A series' reference is written with its first point.
    """
    numbers = _numbers(session, job_id, {name for point in points for name in point.values}, references)
    blocks = [_block(job_id, numbers, group) for group in _by_series(points)]
    if blocks:
        session.execute(insert(Block).on_conflict_do_nothing(), blocks)


def read(
    session: Session,
    job_id: int,
    *,
    layers: Collection[str] = (),
    measures: Collection[str] = (),
    first: int = 0,
    last: int = _LAST_STEP,
    relative_to: Origin | None = None,
) -> list[Curve]:
    """A job's curves between two steps, both included; all of them unless layers or measures are named.

    Those of a fork begin with what was measured before it by the jobs that it goes on from.

    With `relative_to` that reference is subtracted from each curve's values and references, and curves without it are
    left out.
    """
    parts: dict[Series, list[Curve]] = {}
    for ancestor, before in reversed(session.execute(queries.lineage(job_id)).all()):
        until = last if before is None else min(last, before - 1)
        for curve in _own(session, ancestor, layers=layers, measures=measures, first=first, last=until):
            parts.setdefault(Series(curve.layer, curve.measure), []).append(curve)
    curves = [_joined(of_one) for of_one in parts.values()]
    if relative_to is None:
        return curves
    origins = [(getattr(curve.reference, relative_to), curve) for curve in curves]
    return [_counted_from(origin, curve) for origin, curve in origins if origin is not None]


def _own(
    session: Session, job_id: int, *, layers: Collection[str], measures: Collection[str], first: int, last: int
) -> list[Curve]:
    """What a job measured itself."""
    chosen = [
        series
        for series in session.execute(queries.series_of(job_id)).scalars()
        if (not layers or series.layer in layers) and (not measures or series.measure in measures)
    ]
    rows = session.execute(queries.blocks_of(job_id, [series.number for series in chosen], first=first, last=last))
    blocks = [_matrix(row.series, row.steps, row.points) for row in rows]
    return [_curve(series, blocks, first=first, last=last) for series in chosen]


def _joined(parts: Sequence[Curve]) -> Curve:
    """One curve of the pieces that follow one another; the last one's references."""
    if len(parts) == 1:
        return parts[0]
    steps, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("steps", "values"))
    return parts[-1]._replace(steps=steps, values=values)


def roll_back(session: Session, job_id: int, step: int) -> None:
    """Forget everything from a step on, that step included; from step 0 on, also which curves there were."""
    if step == 0:
        session.execute(delete(Block).where(Block.job_id == job_id))
        session.execute(delete(SeriesRow).where(SeriesRow.job_id == job_id))
        return
    session.execute(delete(Block).where(Block.job_id == job_id, Block.first_step >= step))
    straddling = select(Block).where(Block.job_id == job_id, Block.last_step >= step)
    for block in session.execute(straddling).scalars():
        steps = np.frombuffer(block.steps, _STEP)
        count = int(np.searchsorted(steps, step))
        block.last_step = int(steps[count - 1])
        block.steps = block.steps[: count * _STEP.itemsize]
        block.times = block.times[: count * _REAL.itemsize]
        block.points = block.points[: count * len(block.series) * _REAL.itemsize]


def _numbers(
    session: Session, job_id: int, names: Iterable[Series], references: Mapping[Series, Reference]
) -> dict[Series, int]:
    """Each name's number; new names get the next ones. The fence lets one writer in at a time."""
    known = {Series(row.layer, row.measure): row.number for row in session.execute(queries.series_of(job_id)).scalars()}
    new = sorted(set(names) - known.keys(), key=lambda name: (name.layer or "", name.measure))
    for number, name in enumerate(new, start=len(known)):
        reference = references.get(name, _NOTHING)
        session.add(SeriesRow(job_id=job_id, number=number, **name._asdict(), **reference._asdict()))
        known[name] = number
    return known


def _by_series(points: Sequence[Point]) -> list[list[Point]]:
    groups: dict[frozenset[Series], list[Point]] = {}
    for point in points:
        groups.setdefault(frozenset(point.values), []).append(point)
    return [sorted(group, key=lambda point: point.step) for group in groups.values()]


def _block(job_id: int, numbers: Mapping[Series, int], points: Sequence[Point]) -> dict[str, object]:
    names = sorted(points[0].values, key=numbers.__getitem__)
    return {
        "job_id": job_id,
        "first_step": points[0].step,
        "last_step": points[-1].step,
        "series": [numbers[name] for name in names],
        "steps": np.array([point.step for point in points], _STEP).tobytes(),
        "times": np.array([point.time for point in points], _REAL).tobytes(),
        "points": np.array([[point.values[name] for name in names] for point in points], _REAL).tobytes(),
    }


class _Matrix(NamedTuple):
    columns: dict[int, int]
    steps: NDArray[np.int64]
    points: NDArray[np.float64]


def _matrix(series: Sequence[int], steps: bytes, points: bytes) -> _Matrix:
    columns = {number: column for column, number in enumerate(series)}
    return _Matrix(columns, np.frombuffer(steps, _STEP), np.frombuffer(points, _REAL).reshape(-1, len(series)))


def _curve(series: SeriesRow, blocks: Sequence[_Matrix], *, first: int, last: int) -> Curve:
    mine = [block for block in blocks if series.number in block.columns]
    steps = np.concatenate([np.empty(0, _STEP), *(block.steps for block in mine)])
    values = np.concatenate([np.empty(0, _REAL), *(block.points[:, block.columns[series.number]] for block in mine)])
    order = np.argsort(steps, kind="stable")
    order = order[(steps[order] >= first) & (steps[order] <= last)]
    reference = Reference(series.random, series.optimum)
    return Curve(series.layer, series.measure, steps[order], values[order], reference)


def _counted_from(origin: float, curve: Curve) -> Curve:
    random, optimum = (None if value is None else value - origin for value in curve.reference)
    return curve._replace(values=curve.values - origin, reference=Reference(random, optimum))
