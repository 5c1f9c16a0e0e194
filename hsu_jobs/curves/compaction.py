"""Which blocks of curves become one, and when?

A running job's small blocks are merged when they have 64 steps together, medium ones when they have 4,096, and all
others when the job has ended. So its blocks are in this order: final, medium, small; and each point is written three
times in all. The process that merges holds the job's lock; no other one waits in order to merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from sqlalchemy import Boolean, delete, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.curves import layout
from hsu_jobs.curves.layout import FULL, MEDIUM, Matrix
from hsu_jobs.curves.writing import keepers_of, matrix_of
from hsu_jobs.states import TERMINAL
from hsu_jobs.tables import Block, Job

AT_ONCE = 4 * FULL
"""Steps of one job that are merged in one transaction, so that it stays short even after a long time without one."""
_KEY = (Block.job_id, Block.first_step, Block.lead)
_IS_OPEN = literal_column("(curve_blocks.level < 2)", Boolean)
"""The exact text of the index and the partition, with which Postgres could match no bound parameter."""


class _Size(NamedTuple):
    """A block without its content."""

    first_step: int
    lead: int
    last_step: int
    steps: int
    level: int


def due(session: Session, *, limit: int = 100) -> Sequence[int]:
    """Jobs with blocks to merge, in any order: those whose blocks cannot be merged delay no others for long."""
    small, steps = func.sum(Block.count).filter(Block.level == 0), func.sum(Block.count)
    is_due = (small >= MEDIUM) | (steps >= FULL) | Job.state.in_(TERMINAL)
    jobs = select(Block.job_id).join(Job).where(_IS_OPEN).group_by(Block.job_id, Job.state).having(is_due)
    return session.execute(jobs.order_by(func.random()).limit(limit)).scalars().all()


def compact(session: Session, job_id: int) -> bool:
    """Merge a job's blocks where due; returns whether any were. Does nothing if another process is merging them."""
    if not session.execute(queries.hold_if_free(keepers_of(job_id))).scalar_one():
        return False
    has_ended = session.execute(select(Job.state.in_(TERMINAL)).where(Job.id == job_id)).scalar_one()
    key = (Block.first_step, Block.lead, Block.last_step, Block.count, Block.level)
    rows = session.execute(select(*key).where(Block.job_id == job_id, _IS_OPEN).order_by(Block.first_step))
    blocks = [_Size(*row) for row in rows]
    is_final = has_ended or _steps(blocks) >= FULL
    chosen = _first(blocks) if is_final else _small(blocks)
    if not chosen:
        return False
    keys = [(job_id, block.first_step, block.lead) for block in chosen]
    gone = session.execute(delete(Block).where(tuple_(*_KEY).in_(keys)).returning(Block)).scalars()
    merged = [part for matrix in merge([matrix_of(row) for row in gone]) for part in parts(matrix)]
    session.execute(insert(Block), [layout.row(job_id, matrix, is_final=is_final) for matrix in merged])
    return True


def merge(matrices: Sequence[Matrix]) -> Iterator[Matrix]:
    """The same points in as few matrices as possible: one for all series that have the same steps."""
    steps, places = np.unique(np.concatenate([matrix.steps for matrix in matrices]), return_inverse=True)
    numbers = sorted({number for matrix in matrices for number in matrix.series})
    times, points = np.empty(len(steps)), np.empty((len(numbers), len(steps)))
    is_there = np.zeros(points.shape, bool)
    end = 0
    for matrix in matrices:
        mine, end = places[end : end + len(matrix.steps)], end + len(matrix.steps)
        block = np.ix_(np.searchsorted(numbers, matrix.series), mine)
        times[mine], points[block], is_there[block] = matrix.times, matrix.points, True
    alike: dict[bytes, list[int]] = {}
    for index, there in enumerate(is_there):
        alike.setdefault(there.tobytes(), []).append(index)
    for group in alike.values():
        there = is_there[group[0]]
        yield Matrix([numbers[index] for index in group], steps[there], times[there], points[np.ix_(group, there)])


def _steps(blocks: Iterable[_Size]) -> int:
    """The number of steps; those of curves that are measured at other steps count twice: it is only a size."""
    return sum(block.steps for block in blocks)


def _first(blocks: Sequence[_Size]) -> Sequence[_Size]:
    """The first blocks, as many as are merged at once, up to a step that none of them crosses."""
    steps, last = 0, -1
    for place, block in enumerate(blocks):
        if steps >= AT_ONCE and block.first_step > last:
            return blocks[:place]
        steps += block.steps
        last = max(last, block.last_step)
    return blocks


def _small(blocks: Sequence[_Size]) -> Sequence[_Size]:
    """The small ones at the end, if they have enough steps together to become a medium one."""
    small = list(takewhile(lambda block: block.level == 0, reversed(blocks)))
    return small if _steps(small) >= MEDIUM else []


def parts(matrix: Matrix) -> Iterator[Matrix]:
    """Full parts of about the same size; a single part if the matrix is smaller than two full ones."""
    for steps in np.array_split(np.arange(len(matrix.steps)), max(1, len(matrix.steps) // FULL)):
        part = slice(steps[0], steps[-1] + 1)
        yield Matrix(matrix.series, matrix.steps[part], matrix.times[part], matrix.points[:, part])
