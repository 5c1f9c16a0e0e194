"""What happens to one attempt? Load, run, settle: a short transaction, hours with none open, a short transaction.

    python -m worker.runner      reads its token and its GPUs from standard input, then obeys it: `stop` asks it to
                                 stop, and its end means that the supervisor is gone

The only process that loads torch. It exits 0 once the attempt is settled, whatever the outcome.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from hsu_core.outcomes import Stopped
from hsu_core.training import checkpoint
from hsu_jobs import attempts, database, log_format
from hsu_jobs.artifacts import checkpoints, installation
from hsu_jobs.artifacts.storage import Storage, StorageUnavailable
from hsu_jobs.database_outage import AWAY
from hsu_jobs.errors import LeaseLost, SpecNotReadable
from hsu_jobs.outcomes import Failed, Released, Succeeded, Unavailable
from hsu_jobs.settings import Settings, settings
from hsu_jobs.spec import JobSpec, TrainingJob, read
from hsu_jobs.tables import Attempt, CheckpointRow, Job
from worker import dispatch
from worker.reporter import Reporter

_log = logging.getLogger(__name__)
T = TypeVar("T")


class ParentPipe:
    """Standard input, read by a thread: a wish to stop, or the supervisor's death."""

    def __init__(self) -> None:
        first = sys.stdin.readline()
        if not first:
            sys.exit()  # a spare that was not needed
        told = json.loads(first)
        self.token = UUID(told["token"])
        os.environ["CUDA_VISIBLE_DEVICES"] = told["visible"]
        self.gpus = len(told["visible"].split(",")) if told["visible"] else 0
        self.pulled = threading.Event()
        threading.Thread(target=self._listen, name="leash", daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                self.pulled.set()
        os._exit(1)  # nobody renews the lease any more: go before it runs out


class CannotGoOn(Exception):
    """A fork without what it goes on from: beginning at the start would make another job of it."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def run_attempt(parent_pipe: ParentPipe, settings: Settings) -> str:
    """Run the attempt that the leash names; returns as what it ended."""
    try:
        job, attempt = _ask(lambda session: attempts.held(session, parent_pipe.token))
        try:
            spec = read(job.spec)
        except SpecNotReadable as error:  # another version's worker may run it; this machine claims it no more
            _log.warning("the job goes back to the queue: %s", error)
            _ask(lambda session: attempts.settle(session, parent_pipe.token, Released(), settings))
            return Released().kind
        done = _attempted(job, attempt, spec, parent_pipe, settings)
        if done is None:
            return "not ours any more"
        return _settle(parent_pipe.token, done, settings)
    except LeaseLost:
        return "not ours any more"


def _attempted(
    job: Job, attempt: Attempt, spec: JobSpec, parent_pipe: ParentPipe, settings: Settings
) -> dispatch.Done | None:
    """How the attempt ended; nothing if it was lost meanwhile. One that cannot reach the storage ends, and waits."""
    try:
        storage = _ask(lambda session: installation.marked_storage(session, settings))
        start = _restore(job, parent_pipe.token, storage)
        resume_from = storage.fetch(start.path) if start else None
        _tidy(job, attempt, storage)
    except CannotGoOn as error:
        return Failed(code=error.code, message=str(error))
    except OSError as error:
        _log.warning("the storage is away: %s", error)
        return Unavailable(code="storage_unavailable", message=str(error))
    done = _run(job, attempt, spec, parent_pipe, settings, storage=storage, start=start, resume_from=resume_from)
    if isinstance(done, Failed) and done.code == "error" and (trouble := _trouble(storage)):
        return Unavailable(code="storage_unavailable", message=f"{trouble}; the attempt ended with: {done.message}")
    return done


def _trouble(storage: Storage) -> str | None:
    """Why the storage cannot be used just now; None if it can."""
    try:
        storage.check()
    except StorageUnavailable as error:
        return str(error)
    return None


def _restore(job: Job, token: UUID, storage: Storage) -> CheckpointRow | None:
    """Go on from the newest checkpoint whose file is what was saved; without one, from the start.

    Only what the storage certainly lacks is missing, and only what was read twice is damaged. Raises
    `StorageUnavailable` or another OSError while nothing is known.
    """
    code = "checkpoint_damaged"
    for row in _ask(lambda session: checkpoints.to_resume_from(session, job)):
        try:
            _verify(storage, row)
        except FileNotFoundError as error:
            _log.warning("a checkpoint is missing: %s", error)
            code = "checkpoint_missing"
            _ask(lambda session, row=row: attempts.note_missing(session, token, row))
        except checkpoint.CheckpointMismatch as error:
            _log.warning("a checkpoint is damaged: %s", error)
            damage = str(error)
            _ask(lambda session, row=row, damage=damage: attempts.note_damage(session, token, row, damage))
        else:
            _ask(lambda session, row=row: attempts.begin(session, token, row))
            return row
    if job.parent_id is not None:
        raise CannotGoOn(
            f"the checkpoint of step {job.parent_step} of job {job.parent_id} cannot be read any more", code=code
        )
    _ask(lambda session: attempts.begin(session, token, None))
    return None


def _verify(storage: Storage, row: CheckpointRow) -> None:
    """Raise `CheckpointMismatch` if the file is not what was saved: found so twice, in a storage that is ours."""
    with suppress(checkpoint.CheckpointMismatch):
        return checkpoint.verify(storage.fetch(row.path), row.sha256)
    return checkpoint.verify(storage.fetch(row.path), row.sha256)


def _tidy(job: Job, attempt: Attempt, storage: Storage) -> None:
    """Remove what was given up; it may as well stay for the next attempt."""
    found = _ask(lambda session: checkpoints.files(session, job.id))
    try:
        storage.tidy(job.id, given_up=found.given_up, known=found.known, before=attempt.number)
    except OSError as error:
        _log.warning("what was given up stays: %s", error)


def _run(
    job: Job,
    attempt: Attempt,
    spec: JobSpec,
    parent_pipe: ParentPipe,
    settings: Settings,
    *,
    storage: Storage,
    start: CheckpointRow | None,
    resume_from: Path | None,
) -> dispatch.Done | None:
    """Do the work; nothing if the attempt was lost meanwhile."""
    surplus: list[str] = []

    def keep_few() -> None:
        assert isinstance(spec, TrainingJob)  # nothing else saves
        policy = spec.checkpoint
        surplus.extend(_ask(lambda session: checkpoints.give_up_surplus(session, job.id, policy)))
        try:
            storage.remove(surplus)
        except OSError as error:
            _log.warning("%d files stay for now: %s", len(surplus), error)
        else:
            surplus.clear()

    reporter = Reporter(
        parent_pipe.token,
        flush_seconds=settings.flush.total_seconds(),
        step=start.step if start else 0,
        on_saved=keep_few,
        publish=storage.publish,
        storage_patience=min(settings.storage_patience.total_seconds(), spec.limits.stall / 3),
        folder=settings.artifacts_dir,
    )
    with reporter:
        done = dispatch.do(
            spec,
            describe=reporter.describe,
            report=reporter.report,
            saved=reporter.saved,
            should_stop=lambda: parent_pipe.pulled.is_set() or reporter.lost or reporter.desired.asks_to_stop,
            before_saving=lambda: storage.prepare(job.id, attempt.number),
            checkpoint_dir=storage.checkpoint_folder(job.id, attempt.number),
            resume_from=resume_from,
            settings=settings,
            gpus=parent_pipe.gpus,
        )
    if reporter.lost:
        return None
    if reporter.unpublished and isinstance(done, Succeeded):
        return done.model_copy(update={"unsaved": reporter.unpublished})
    return done


def _settle(token: UUID, done: dispatch.Done, settings: Settings) -> str:
    if isinstance(done, Stopped):
        return _ask(lambda session: attempts.release(session, token, settings)).kind
    _ask(lambda session: attempts.settle(session, token, done, settings))
    return done.code if isinstance(done, Unavailable) else done.kind


def _ask(question: Callable[..., T]) -> T:
    """Ask in a transaction, as often as it takes while the database is away. Raises `LeaseLost` once it says so."""
    while True:
        try:
            with database.transaction() as session:
                return question(session)
        except AWAY as error:
            _log.warning("the database does not answer: %s", error)
            time.sleep(1)


def warm_up() -> None:
    """Import what a first step would import otherwise (1.5 s), and nothing that touches CUDA: it has no devices yet."""
    for module in ("sklearn.datasets", "torch._dynamo"):
        importlib.import_module(module)


def main() -> None:
    """Run one attempt."""
    warm_up()
    log_format.set_up(settings())
    _log.info("the attempt ended: %s", run_attempt(ParentPipe(), settings()))


if __name__ == "__main__":
    main()
