"""Which checkpoints can nobody go on from any more, because their files are gone for good?

Only a storage that is there and is ours can say so; one that is away says nothing (`storage`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from hsu_jobs import database, queries
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.event_log import record
from hsu_jobs.events import Missing
from hsu_jobs.tables import CheckpointRow, Job

AT_ONCE = 200
"""Rows that one look takes; the next look goes on after them."""


def among(rows: Sequence[CheckpointRow], storage: Storage) -> list[CheckpointRow]:
    """Those of these checkpoints whose files the storage certainly lacks. Raises `StorageUnavailable`."""
    gone = set(storage.missing([row.path for row in rows]))
    return [row for row in rows if row.path in gone]


def note(session: Session, row: CheckpointRow) -> None:
    """Say that a checkpoint's file is gone, unless the checkpoint was given up meanwhile."""
    session.execute(queries.job_for_update(row.job_id))  # before the checkpoint, as for whoever gives one up
    kept = session.execute(queries.checkpoint_for_update(row.id)).scalar_one_or_none()
    if kept is None:
        return
    record(session, kept.job_id, Missing(step=kept.step, message=f"{kept.path} is not in the storage"))
    checkpoints.note_missing(kept)


def note_those_of(session: Session, job: Job, storage: Storage) -> None:
    """Say so of every missing one that a job, or a fork of it, could go on from. Raises `StorageUnavailable`."""
    for row in among(checkpoints.to_resume_from(session, job), storage):
        note(session, row)
    session.flush()


class Audit:
    """Looks again and again whether the files of all kept checkpoints are there, some rows at a time."""

    def __init__(self) -> None:
        self._after = 0

    def look(self, storage: Storage, *, at_most: timedelta) -> int:
        """Go on where the last look ended; how many files were found missing. Raises `StorageUnavailable`."""
        deadline = time.monotonic() + at_most.total_seconds()
        with database.transaction() as session:
            rows = session.execute(queries.kept_checkpoints(after=self._after, limit=AT_ONCE)).scalars().all()
        found = 0
        for row in rows:
            if time.monotonic() > deadline:
                return found
            if among([row], storage):
                with database.transaction() as session:
                    note(session, row)
                found += 1
            self._after = row.id
        if len(rows) < AT_ONCE:
            self._after = 0
        return found
