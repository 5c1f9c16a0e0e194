"""What happens to one attempt? Load, run, settle: a short transaction, hours with none open, a short transaction.

    python -m worker.runner      reads its environment, token and GPUs from standard input, then commands: `stop` asks
                                 it to stop, and the end of the input means that the supervisor is gone

Usually it is forked instead, from a process that has done the imports (`fork_server`). It exits 0 once the attempt is
settled, whatever the outcome.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar
from uuid import UUID

from sqlalchemy.exc import NoResultFound

from hsu_core.data.images import DamagedFile
from hsu_core.outcomes import Stopped
from hsu_core.spec import OwnDataset
from hsu_core.training import checkpoint, launch
from hsu_core.training.callbacks import Callbacks
from hsu_jobs import attempts, database, log_format
from hsu_jobs.artifacts import checkpoints, installation
from hsu_jobs.artifacts.storage import Storage, StorageUnavailable
from hsu_jobs.database_outage import AWAY
from hsu_jobs.errors import Gone, LeaseLost, NotFound, SpecNotReadable
from hsu_jobs.outcomes import Failed, Succeeded, Unavailable
from hsu_jobs.settings import Settings, settings
from hsu_jobs.spec import JobSpec, read
from hsu_jobs.tables import Attempt, CheckpointRow, Job
from worker import dispatch
from worker.code_version import code_version
from worker.dataset_cache import cached
from worker.reporter import Reporter

_log = logging.getLogger(__name__)
T = TypeVar("T")


class ParentPipe:
    """Standard input, read by a thread: a request to stop, or the end of the supervisor."""

    def __init__(self) -> None:
        first = sys.stdin.readline()
        if not first:
            launch.end()  # a spare that was not needed
        order = json.loads(first)
        self.token = UUID(order["token"])
        os.environ.clear()  # a forked runner has that of the server
        os.environ.update(order["environment"])
        os.environ["CUDA_VISIBLE_DEVICES"] = order["visible"]
        self.gpus = len(order["visible"].split(",")) if order["visible"] else 0
        self.stop_requested = threading.Event()
        threading.Thread(target=self._listen, name="parent-pipe", daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                self.stop_requested.set()
        os._exit(1)  # the supervisor is gone and its lease will end: stop before another worker takes the job


class CannotGoOn(Exception):
    """The checkpoint that a job continues from, or starts from, is lost: with drawn weights it would be another job."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


def run_attempt(parent_pipe: ParentPipe, settings: Settings) -> str:
    """Run the attempt that the supervisor named; returns the kind of its outcome."""
    try:
        job, attempt = _ask(lambda session: attempts.held(session, parent_pipe.token))
        try:
            spec = read(job.spec, plugins=job.plugins)
        except SpecNotReadable as error:  # code or a plug-in has changed since the supervisor began
            _log.warning("this version cannot read the spec; the job waits: %s", error)
            unread = Unavailable(code="spec_not_readable", message=error.detail)
            return _settle(parent_pipe.token, unread, settings)
        done = _attempted(job, attempt, spec, parent_pipe, settings)
        if done is None:
            return "not ours any more"
        return _settle(parent_pipe.token, done, settings)
    except LeaseLost:
        return "not ours any more"


def _attempted(
    job: Job, attempt: Attempt, spec: JobSpec, parent_pipe: ParentPipe, settings: Settings
) -> dispatch.Done | None:
    """How the attempt ended; None if it was lost meanwhile. One that cannot reach the storage ends, and waits."""
    try:
        storage = _ask(lambda session: installation.marked_storage(session, settings))
        start = _restore(job, parent_pipe.token, storage)
        resume_from = storage.fetch(start.path) if start else None
        initial_from = _initial(spec, storage) if start is None else None
        _tidy(job, attempt, storage)
    except CannotGoOn as error:
        return Failed(code=error.code, message=str(error))
    except OSError as error:
        _log.warning("the storage does not answer: %s", error)
        return Unavailable(code="storage_unavailable", message=str(error))
    try:
        with _own_data(spec, storage, settings) as own_dir:
            files = _Files(resume_from, initial_from, own_dir)
            done = _run(job, attempt, spec, parent_pipe, settings, storage=storage, start=start, files=files)
    except CannotGoOn as error:
        return Failed(code=error.code, message=str(error))
    except _DataUnavailable as error:
        return Unavailable(code="storage_unavailable", message=str(error))
    if isinstance(done, Failed) and done.code == "error" and (trouble := _trouble(storage)):
        return Unavailable(code="storage_unavailable", message=f"{trouble}; the attempt ended with: {done.message}")
    return done


def _trouble(storage: Storage) -> str | None:
    """Why the storage cannot be used now; None if it can."""
    try:
        storage.check()
    except StorageUnavailable as error:
        return str(error)
    return None


def _restore(job: Job, token: UUID, storage: Storage) -> CheckpointRow | None:
    """Resume from the newest checkpoint whose file is intact; without one, from the start.

    A file counts as missing only if the storage certainly lacks it, and as damaged only after two reads. Raises
    `StorageUnavailable` or another OSError while this is not known.
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


class _Files(NamedTuple):
    """The files that the work begins with."""

    resume_from: Path | None
    initial_from: Path | None
    """The checkpoint of another job, whose weights are the first ones."""
    own_dir: Path | None
    """The folder of the data set, if a user has brought it."""


class _DataUnavailable(Exception):
    """An own data set cannot be fetched just now."""


@contextmanager
def _own_data(spec: JobSpec, storage: Storage, settings: Settings) -> Iterator[Path | None]:
    """The folder of the spec's own data set, if it has one, which stays while the `with` lasts.

    Raises `CannotGoOn` if its content is lost or damaged, and `_DataUnavailable`.
    """
    dataset = spec.required_dataset
    if not isinstance(dataset, OwnDataset):
        yield None
        return
    most = settings.dataset_cache_bytes
    with ExitStack() as use:
        try:
            place = use.enter_context(cached(settings.dataset_cache, dataset.sha256, storage, most_bytes=most))
        except DamagedFile as error:
            message = f"the data set {dataset.name} cannot be read: {error}"
            raise CannotGoOn(message, code="dataset_damaged") from error
        except OSError as error:
            raise _DataUnavailable(f"the data set {dataset.name} cannot be fetched: {error}") from error
        yield place


def _initial(spec: JobSpec, storage: Storage) -> Path | None:
    """The checkpoint of another job whose weights the spec starts from. Raises `CannotGoOn` if it is gone."""
    if spec.initial_checkpoint is None:
        return None
    job_id, step = spec.initial_checkpoint
    try:
        row = _ask(lambda session: checkpoints.at(session, session.get_one(Job, job_id), step))
        _verify(storage, row)
    except (NotFound, Gone, NoResultFound, FileNotFoundError, checkpoint.CheckpointMismatch) as error:
        message = f"the first weights cannot be read: {error}"
        raise CannotGoOn(message, code="initial_weights_missing") from error
    return storage.fetch(row.path)


def _verify(storage: Storage, row: CheckpointRow) -> None:
    """Raise `CheckpointMismatch` if the file is not what was saved, in two reads and in our own storage."""
    with suppress(checkpoint.CheckpointMismatch):
        return checkpoint.verify(storage.fetch(row.path), row.sha256)
    return checkpoint.verify(storage.fetch(row.path), row.sha256)


def _tidy(job: Job, attempt: Attempt, storage: Storage) -> None:
    """Remove discarded checkpoints; what cannot be removed now stays for the next attempt."""
    found = _ask(lambda session: checkpoints.files(session, job.id))
    try:
        storage.tidy(job.id, given_up=found.given_up, known=found.known, before=attempt.number)
    except OSError as error:
        _log.warning("surplus checkpoints could not be removed: %s", error)


def _run(
    job: Job,
    attempt: Attempt,
    spec: JobSpec,
    parent_pipe: ParentPipe,
    settings: Settings,
    *,
    storage: Storage,
    start: CheckpointRow | None,
    files: _Files,
) -> dispatch.Done | None:
    """Do the work; None if the attempt was lost meanwhile."""
    surplus: list[str] = []
    patience = min(settings.storage_patience.total_seconds(), spec.limits.stall / 3)

    def keep_few() -> None:
        policy = spec.checkpoint_policy
        assert policy is not None  # a state was saved
        surplus.extend(_ask(lambda session: checkpoints.give_up_surplus(session, job.id, policy)))
        try:
            storage.remove(surplus)
        except OSError as error:
            _log.warning("%d checkpoint files could not be removed yet: %s", len(surplus), error)
        else:
            surplus.clear()

    reporter = Reporter(
        parent_pipe.token,
        flush_seconds=settings.flush.total_seconds(),
        step=start.step if start else 0,
        on_saved=keep_few,
        publish=storage.publish,
        storage_patience=patience,
        folder=settings.artifacts_dir,
    )
    with reporter:
        callbacks = Callbacks(
            skipped=reporter.skipped,
            describe=reporter.describe,
            report=reporter.report,
            should_stop=lambda: parent_pipe.stop_requested.is_set() or reporter.lost or reporter.desired.asks_to_stop,
            checkpoint_dir=storage.checkpoint_folder(job.id, attempt.number),
            before_saving=lambda: storage.prepare(job.id, attempt.number),
            saved=reporter.saved,
            save_patience=patience,
        )
        done = dispatch.do(
            spec,
            callbacks,
            resume_from=files.resume_from,
            initial_from=files.initial_from,
            own_dir=files.own_dir,
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
    """Ask in a transaction, repeated while the database is away. Raises `LeaseLost` if the lease is lost."""
    while True:
        try:
            with database.transaction() as session:
                return question(session)
        except AWAY as error:
            _log.warning("the database does not answer: %s", error)
            time.sleep(1)


def warm_up() -> None:
    """Import what the first step would import (1.5 s), but nothing that touches CUDA: there are no devices yet.

    And ask git for the commit, which each runner then knows.
    """
    for module in ("sklearn.datasets", "torch._dynamo"):
        importlib.import_module(module)
    code_version()


def run() -> NoReturn:
    """Run one attempt, and end this process at once: to take down what torch has set up takes longer than to fork."""
    parent_pipe = ParentPipe()
    log_format.set_up(settings())
    _log.info("the attempt ended: %s", run_attempt(parent_pipe, settings()))
    launch.end()


def main() -> None:
    """Run one attempt, in a process of its own."""
    warm_up()
    run()


if __name__ == "__main__":
    main()
