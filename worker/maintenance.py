"""What is due? Blocks of curves are merged, old rows and files of runs deleted, and the next runs of studies queued.

Every worker does this in its sweeps: it depends on no particular worker, and no two do the same at the same time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy.orm import Session

from hsu_jobs import curves, database, doorbell, row_failures, run_files
from hsu_jobs.access import audit, idempotency
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.missing_checkpoints import Audit
from hsu_jobs.curves import compaction
from hsu_jobs.settings import Settings
from hsu_jobs.studies import queueing
from hsu_jobs.webhooks import deliveries

_log = logging.getLogger(__name__)

_AT_MOST = timedelta(seconds=5)
"""Time for merging in one sweep; the rest waits for the next one."""


def run(settings: Settings) -> None:
    """Do what is due. Each task is a transaction of its own: one that fails does not prevent the others."""
    merge_blocks()
    clear_saved_files(settings)
    for name, duty in _duties(settings).items():
        with row_failures.alone("upkeep", name), database.transaction() as session:
            duty(session)


def _duties(settings: Settings) -> dict[str, Callable[[Session], object]]:
    keep_curves = settings.keep_curves
    duties: dict[str, Callable[[Session], object]] = {
        "idempotency keys": lambda session: idempotency.forget(session, keep=settings.idempotency_keep),
        "deliveries": lambda session: deliveries.tidy(session, settings.webhook_log),
        "audit log": lambda session: session.execute(audit.outlived(settings.audit_retention)),
        "studies": lambda session: _queue_runs(session, settings),
    }
    if keep_curves is not None:
        duties["old curves"] = lambda session: curves.forget_ended(session, before=keep_curves)
    return duties


def _queue_runs(session: Session, settings: Settings) -> None:
    """Queue what waits for room; the workers hear of it."""
    if queued := queueing.advance_all(session, settings):
        database.after_commit(session, partial(doorbell.shared().ring, queued[-1]))


def look_for_missing_files(audit: Audit, settings: Settings) -> None:
    """Note which kept checkpoints have lost their file; a storage that is away proves nothing about them."""
    with database.transaction() as session:
        storage = installation.storage(session, settings)
    try:
        found = audit.look(storage, at_most=_AT_MOST)
    except OSError:
        return  # the search for work logs it
    if found:
        _log.warning("the files of %d checkpoints are missing", found)


def clear_saved_files(settings: Settings) -> int:
    """Remove what the files of tracked runs no longer need, each in a transaction; returns of how many."""
    deadline, cleared = time.monotonic() + _AT_MOST.total_seconds(), 0
    with row_failures.alone("upkeep", "saved files"):
        with database.transaction() as session:
            run_files.give_up_abandoned(session)
            storage = installation.storage(session, settings)
        while time.monotonic() < deadline:
            try:
                with database.transaction() as session:
                    if not run_files.clear_next(session, storage):
                        break
            except OSError as error:
                _log.warning("files of runs wait to be removed: %s", error)
                break
            cleared += 1
    return cleared


def merge_blocks() -> int:
    """Merge the blocks of curves that are due, each in a transaction; returns how many transactions."""
    deadline, merged = time.monotonic() + _AT_MOST.total_seconds(), 0
    with database.transaction() as session:
        jobs = compaction.due(session)
    for job_id in jobs:
        with row_failures.alone("merging curves", f"job {job_id}"):
            while time.monotonic() < deadline:
                with database.transaction() as session:
                    if not compaction.compact(session, job_id):
                        break
                merged += 1
    return merged
