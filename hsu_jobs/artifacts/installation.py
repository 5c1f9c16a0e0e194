"""Which installation is this, and which storage belongs to it?

The identity is one row of the database. The marker in the storage is written once, by the first worker that uses it;
afterwards a storage without the marker is an outage and is never initialised silently. An operator may do it on
purpose: `adopt`.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func
from sqlalchemy.orm import Session

from hsu_jobs import queries, row_failures
from hsu_jobs.artifacts import missing_checkpoints
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.settings import Settings


def storage(session: Session, settings: Settings) -> Storage:
    """The installation's storage, as this machine reaches it: it may be away."""
    return Storage(settings, session.execute(queries.installation()).scalar_one().identity)


def marked_storage(session: Session, settings: Settings) -> Storage:
    """Like `storage`, but marked now if no storage ever was. Raises `StorageUnavailable` if that fails.

    If the first two workers have different folders, one worker marks its folder, and the other's has no marker.
    """
    if session.execute(queries.installation()).scalar_one().storage_marked_at is None:
        row = session.execute(queries.installation_for_update()).scalar_one()
        if row.storage_marked_at is None:
            newest = session.execute(queries.newest_kept_checkpoint()).scalar_one_or_none()
            Storage(settings, row.identity).mark(expected=newest.path if newest else None)
            row.storage_marked_at = func.now()
            session.flush()
    return storage(session, settings)


class Adopted(NamedTuple):
    """What an adopted storage holds."""

    kept: int
    missing: int


def adopt(session: Session, settings: Settings) -> Adopted:
    """Make the storage of the settings this installation's own, and note the files that it lacks as missing for good.

    Raises `StorageUnavailable`.
    """
    row = session.execute(queries.installation_for_update()).scalar_one()
    ours = Storage(settings, row.identity)
    ours.mark(take_over=True)
    row.storage_marked_at = func.now()
    rows = session.execute(queries.kept_checkpoints()).scalars().all()
    gone = missing_checkpoints.among(rows, ours)
    for path, kept in [(each.path, each) for each in gone]:
        with row_failures.savepoint(session, "adopting artifacts", path):
            missing_checkpoints.note(session, kept)
    return Adopted(kept=len(rows) - len(gone), missing=len(gone))
