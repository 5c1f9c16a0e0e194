"""Which saved states does a job have, which are kept, and from which does it resume?

Knows rows and policies. Knows no files: it only names those that the storage is to remove. A file that no row names
belongs to no job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from hsu_core import spec
from hsu_jobs import queries
from hsu_jobs.errors import Gone, NotFound
from hsu_jobs.tables import CheckpointRow, Job

SUPERSEDED, DAMAGED, MISSING = "superseded", "damaged", "missing"


def to_resume_from(session: Session, job: Job) -> list[CheckpointRow]:
    """The checkpoints from which a job can resume, best first: its own, newest first, then its parent's one."""
    own = _kept(session, job.id)
    if job.parent_id is None:
        return own
    return own + [row for row in _kept(session, job.parent_id) if row.step == job.parent_step]


def at(session: Session, job: Job, step: int | None) -> CheckpointRow:
    """A job's checkpoint at a step, by default its newest. Raises `NotFound`, or `Gone` if it was removed."""
    ever = session.execute(queries.checkpoints_of(job.id)).scalars().all()
    kept = [row for row in ever if row.removed_at is None]
    found = [row for row in kept if step is None or row.step == step]
    if found:
        return found[0]
    there = (
        f"there are those of steps {', '.join(str(row.step) for row in reversed(kept))}" if kept else "there is none"
    )
    if step is None and ever:
        last = ever[0]
        raise Gone(f"job {job.id} has no checkpoint any more: that of step {last.step} was {_how_removed(last)}")
    if step is None:
        raise NotFound(f"job {job.id} has no checkpoint to go on from")
    removed = next((row for row in ever if row.step == step), None)
    if removed is None:
        raise NotFound(f"job {job.id} has no checkpoint of step {step}; {there}")
    raise Gone(f"job {job.id}'s checkpoint of step {step} was {_how_removed(removed)}; {there}")


def give_up_surplus(session: Session, job_id: int, policy: spec.Checkpoint) -> list[str]:
    """Give up what the policy does not keep, and return its files.

    What an unfinished job continues or starts from stays. The job is locked, so that no other begins meanwhile from a
    checkpoint that is being given up.
    """
    session.execute(queries.job_for_update(job_id))
    kept = _kept(session, job_id)
    pinned = set(session.execute(queries.steps_in_use(job_id)).scalars())
    best = max((row for row in kept if row.is_best), key=lambda row: row.step, default=None)
    surplus = [
        row
        for row in kept[policy.keep_last :]
        if str(row.step) not in pinned and not (policy.keep_best and row is best)
    ]
    for row in surplus:
        _remove(row, SUPERSEDED)
    return [row.path for row in surplus]


def note_superseded(row: CheckpointRow) -> None:
    """Mark it as given up: by its owner, or for a newer one."""
    _remove(row, SUPERSEDED)


def note_damage(row: CheckpointRow) -> None:
    """Mark it as damaged: no job continues from it again."""
    _remove(row, DAMAGED)


def note_missing(row: CheckpointRow) -> None:
    """Mark it as missing: its file is certainly not in the storage, so no job can continue from it."""
    _remove(row, MISSING)


def forget_after(session: Session, job_id: int, step: int) -> None:
    """Delete the rows of checkpoints after the one from which the job resumes: they will be saved again."""
    beyond = (CheckpointRow.job_id == job_id) & (CheckpointRow.step > step) & CheckpointRow.removed_at.is_(None)
    session.execute(delete(CheckpointRow).where(beyond))


def paths(session: Session, job_id: int) -> set[str]:
    """The files that must stay, within the storage."""
    return {row.path for row in _kept(session, job_id)}


class Files(NamedTuple):
    """The files of a job that rows name."""

    given_up: set[str]
    """Those that may be removed: newer ones superseded them."""
    known: set[str]
    """All of them. A file that was found damaged or missing stays, if it is there: it was not given up on purpose."""


def files(session: Session, job_id: int) -> Files:
    """Which of a job's files may be removed, and which are known?"""
    rows = session.execute(queries.checkpoints_of(job_id)).scalars().all()
    return Files(
        given_up={row.path for row in rows if row.removed_because == SUPERSEDED}, known={row.path for row in rows}
    )


def _kept(session: Session, job_id: int) -> list[CheckpointRow]:
    rows: Iterable[CheckpointRow] = session.execute(queries.checkpoints_of(job_id)).scalars()
    return [row for row in rows if row.removed_at is None]


def _how_removed(row: CheckpointRow) -> str:
    return "lost: its file is missing" if row.removed_because == MISSING else f"removed ({row.removed_because})"


def _remove(row: CheckpointRow, why: str) -> None:
    row.removed_at = func.now()
    row.removed_because = why
