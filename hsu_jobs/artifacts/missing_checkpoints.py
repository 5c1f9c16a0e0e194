"""From which checkpoints can no job continue, because their files are gone for good?

Only a storage that is there and is ours can show it; one that is away shows nothing (`storage`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from hsu_jobs import database, queries, row_failures
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.event_log import record
from hsu_jobs.events import Missing
from hsu_jobs.tables import CheckpointRow, Job

AT_ONCE = 200
"""Rows that one look checks; the next look continues after them."""


def among(rows: Sequence[CheckpointRow], storage: Storage) -> list[CheckpointRow]:
    """Those of these checkpoints whose files the storage certainly lacks. Raises `StorageUnavailable`."""
    gone = set(storage.missing([row.path for row in rows]))
    return [row for row in rows if row.path in gone]


def note(session: Session, row: CheckpointRow) -> None:
    """Record that a checkpoint's file is gone, unless the checkpoint was given up meanwhile."""
    session.execute(queries.job_for_update(row.job_id))  # before the checkpoint, as when a checkpoint is given up
    kept = session.execute(queries.checkpoint_for_update(row.id)).scalar_one_or_none()
    if kept is None:
        return
    record(session, kept.job_id, Missing(step=kept.step, message=f"{kept.path} is not in the storage"))
    checkpoints.note_missing(kept)


def note_those_of(session: Session, job: Job, storage: Storage) -> None:
    """Record each missing one from which a job, or a fork of it, could continue. Raises `StorageUnavailable`."""
    for row in among(checkpoints.to_resume_from(session, job), storage):
        note(session, row)
    session.flush()


class Audit:
    """Checks again and again whether the files of all kept checkpoints are there, some rows at a time."""

    def __init__(self) -> None:
        self._after = 0

    def look(self, storage: Storage, *, at_most: timedelta) -> int:
        """Continue where the last look ended; returns how many files are missing. Raises `StorageUnavailable`."""
        deadline = time.monotonic() + at_most.total_seconds()
        with database.transaction() as session:
            rows = session.execute(queries.kept_checkpoints(after=self._after, limit=AT_ONCE)).scalars().all()
        found = 0
        for row in rows:
            if time.monotonic() > deadline:
                return found
            with row_failures.alone("missing files", f"checkpoint {row.id}", but=(OSError,)):
                found += _note_if_missing(row, storage)
            self._after = row.id
        if len(rows) < AT_ONCE:
            self._after = 0
        return found


def _note_if_missing(row: CheckpointRow, storage: Storage) -> bool:
    """Record a checkpoint's file as missing if it is; returns whether it is. Raises `StorageUnavailable`."""
    if not among([row], storage):
        return False
    with database.transaction() as session:
        note(session, row)
    return True
