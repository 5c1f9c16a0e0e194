"""How are new points written, and how are they rolled back?

Knows rows. The caller fences the write in the same transaction (`attempts.progress`): one writer at a time, whose steps
ascend.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from hsu_core.outcomes import Reference, Series
from hsu_jobs import queries
from hsu_jobs.curves import layout
from hsu_jobs.curves.batches import Columns
from hsu_jobs.curves.layout import REAL, STEP, Matrix, Point
from hsu_jobs.tables import Block, Job, SeriesRow

_NOTHING = Reference(random=None, optimum=None)


def write(
    session: Session,
    job_id: int,
    points: Sequence[Point],
    *,
    references: Mapping[Series, Reference] = MappingProxyType({}),
) -> None:
    """Append points, one block for each set of series among them; points already written are not written twice.

    A series' reference is written with its first point.
    """
    groups = _by_series(points)
    numbers = _numbers(session, job_id, {name for names in groups for name in names}, references)
    blocks = [_block(job_id, numbers, names, group) for names, group in groups.items()]
    if blocks:
        session.execute(insert(Block).on_conflict_do_nothing(), blocks)


def append(session: Session, job_id: int, batch: Sequence[Columns]) -> int:
    """Append a client's columns; returns how many values were left out.

    A curve has one value a step, in ascending steps: what comes at or before its last step is left out.
    """
    numbers = _numbers(session, job_id, {name for columns in batch for name in columns.series}, {})
    session.flush()
    last = _last_steps(session, job_id)
    blocks, left_out = [], 0
    for columns in batch:
        mine = np.array([numbers[name] for name in columns.series])
        ends = np.array([last[number] for number in mine])
        for end in np.unique(ends):  # most often all curves have the same last step
            rows, begin = np.flatnonzero(ends == end), int(np.searchsorted(columns.steps, end, side="right"))
            left_out += begin * len(rows)
            if begin < len(columns.steps):
                chosen = mine[rows].tolist()
                new = Matrix(chosen, columns.steps[begin:], columns.times[begin:], columns.values[rows, begin:])
                blocks.append(layout.row(job_id, new))
                last |= dict.fromkeys(chosen, int(columns.steps[-1]))
    if blocks:
        session.execute(insert(Block), blocks)
        session.execute(_NOTE_LAST, {"job": job_id, "numbers": list(last), "steps": list(last.values())})
    return left_out


_NOTE_LAST = text("""
UPDATE curve_series SET last_step = written.step
FROM unnest(CAST(:numbers AS smallint[]), CAST(:steps AS bigint[])) AS written (number, step)
WHERE job_id = :job AND curve_series.number = written.number AND last_step IS DISTINCT FROM written.step
""")


def _last_steps(session: Session, job_id: int) -> dict[int, int]:
    """The last step of each curve, by its number; -1 where there is none."""
    rows = session.execute(select(SeriesRow.number, SeriesRow.last_step).where(SeriesRow.job_id == job_id))
    return {number: -1 if step is None else step for number, step in rows}


def roll_back(session: Session, job_id: int, step: int) -> None:
    """Delete everything from a step on, that step included; from step 0 on, also the names of the curves."""
    session.execute(queries.hold(keepers_of(job_id)))  # no block is merged meanwhile
    if step == 0:
        forget(session, [job_id])
        return
    straddling = select(Block).where(Block.job_id == job_id, Block.first_step < step, Block.last_step >= step)
    cut = [_until(block, step) for block in session.execute(straddling).scalars()]
    session.execute(delete(Block).where(Block.job_id == job_id, Block.last_step >= step))
    if cut:
        session.execute(insert(Block), cut)
    later = update(SeriesRow).where(SeriesRow.job_id == job_id, SeriesRow.last_step >= step)
    session.execute(later.values(last_step=step - 1).execution_options(synchronize_session=False))


def forget(session: Session, job_ids: Collection[int]) -> None:
    """Delete the curves of jobs."""
    for table in (Block, SeriesRow):
        session.execute(delete(table).where(table.job_id.in_(job_ids)))


def forget_ended(session: Session, *, before: timedelta, limit: int = 100) -> Sequence[int]:
    """Delete the curves of jobs that ended longer ago than this, except those with which younger jobs' curves begin.

    A job's curves begin with those of its whole line: also of the jobs from which an old parent was forked.
    """
    is_young = Job.finished_at.is_(None) | (Job.finished_at >= func.now() - before)
    needed = select(Job.parent_id).where(Job.parent_id.is_not(None), is_young).cte(recursive=True)
    ancestor = aliased(Job)
    earlier = select(ancestor.parent_id).where(ancestor.id == needed.c.parent_id, ancestor.parent_id.is_not(None))
    needed = needed.union(earlier)
    has_curves = select(SeriesRow).where(SeriesRow.job_id == Job.id).exists()
    is_needed = Job.id.in_(select(needed.c.parent_id))
    ended = select(Job.id).where(Job.finished_at < func.now() - before, has_curves, ~is_needed)
    jobs = session.execute(ended.limit(limit)).scalars().all()
    forget(session, jobs)
    return jobs


def keepers_of(job_id: int) -> str:
    """The name of the lock under which a job's blocks are replaced."""
    return f"curves of {job_id}"


def matrix_of(block: Any) -> Matrix:
    """The matrix that a row holds."""
    steps = layout.steps_of(block.first_step, block.last_step, block.count, block.steps)
    points = layout.reals(block.points).reshape(len(block.series), -1)
    return Matrix(block.series, steps, layout.reals(block.times), points)


def _until(block: Block, step: int) -> dict[str, object]:
    """What is left of a block before a step; it may be merged again."""
    whole = matrix_of(block)
    count = int(np.searchsorted(whole.steps, step))
    left = Matrix(whole.series, whole.steps[:count], whole.times[:count], whole.points[:, :count])
    return layout.row(block.job_id, left)


def _numbers(
    session: Session, job_id: int, names: Iterable[Series], references: Mapping[Series, Reference]
) -> dict[Series, int]:
    """Each name's number; new names get the next ones. The fence allows one writer at a time."""
    rows = session.execute(select(SeriesRow.layer, SeriesRow.measure, SeriesRow.number).filter_by(job_id=job_id))
    known = {Series(layer, measure): number for layer, measure, number in rows}
    new = sorted(set(names) - known.keys(), key=lambda name: (name.layer or "", name.measure))
    for number, name in enumerate(new, start=len(known)):
        reference = references.get(name, _NOTHING)
        session.add(SeriesRow(job_id=job_id, number=number, **name._asdict(), **reference._asdict()))
        known[name] = number
    return known


def _by_series(points: Sequence[Point]) -> dict[tuple[Series, ...], list[Point]]:
    groups: dict[tuple[Series, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.values), []).append(point)
    return {names: sorted(group, key=lambda point: point.step) for names, group in groups.items() if names}


def _block(
    job_id: int, numbers: Mapping[Series, int], names: Sequence[Series], points: Sequence[Point]
) -> dict[str, object]:
    matrix = Matrix(
        [numbers[name] for name in names],
        np.array([point.step for point in points], STEP),
        np.array([point.time for point in points], REAL),
        np.array([list(point.values.values()) for point in points], REAL).T,
    )
    return layout.row(job_id, matrix)
