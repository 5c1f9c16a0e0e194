"""Which files does a tracked run save, and how do they arrive? In parts, as data sets do; nothing in them is executed.

A file that has a step is a saved state: safetensors, and a checkpoint of the job as soon as it is ready. A newer file
of the same name takes the older one's place. The client holds its attempt (`runs`); each request is fenced by it, and
one that is repeated changes nothing. Files that nobody needs any more are removed by whichever worker looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from hsu_core.spec.values import EXACT, WHOLE, fault
from hsu_jobs import attempts, queries
from hsu_jobs.artifacts import checkpoint_files, checkpoints, part_uploads
from hsu_jobs.artifacts.checkpoint_files import NoSafetensors
from hsu_jobs.artifacts.part_uploads import LARGEST, UPLOADS, Part, Sha256, Upload
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.errors import FileRefused, Gone, NotFound, QuotaExceeded, StateInUse, WrongFileState
from hsu_jobs.event_log import record
from hsu_jobs.events import Saved
from hsu_jobs.settings import Settings
from hsu_jobs.tables import CheckpointRow, FileState, Job, SavedFile, SavedFilePart

MOST_FILES = 1000
"""Files that a run may have at once."""
ABANDONED_AFTER = timedelta(days=7)
"""Time without a further part after which an upload is given up."""

_PART = r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*"
FileName = Annotated[str, StringConstraints(max_length=200, pattern=f"^{_PART}(/{_PART})*$")]
"""A path within a folder; no part of it begins with a dot."""
Step = Annotated[int, Field(ge=0, le=EXACT), WHOLE]


class NewFile(BaseModel):
    """A file that is going to be sent."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"name": "step-100.safetensors", "step": 100, "bytes": 9, "sha256": "ab" * 32}]
        },
    )

    name: FileName
    bytes: Annotated[int, Field(ge=0, le=LARGEST), WHOLE]
    sha256: Sha256
    """Of the whole file."""
    step: Step | None = None
    """Of a saved state, which is a safetensors file: the step from which the loop goes on with it."""

    @model_validator(mode="after")
    def _state_is_safetensors(self) -> NewFile:
        if self.step is not None and not self.name.endswith(".safetensors"):
            raise fault("name", "no_safetensors", "a saved state is a safetensors file: expected a name that says so")
        return self


class Begun(NamedTuple):
    """An upload."""

    row: SavedFile
    is_new: bool


def begin(session: Session, job_id: int, token: UUID, new: NewFile, settings: Settings) -> Begun:
    """Begin to save a file, or find the one that is the same. Raises `AttemptEnded` and `QuotaExceeded`."""
    job, attempt = attempts.held_run(session, job_id, token)
    session.execute(queries.hold(f"saved files of {job.owner_id}"))
    there = session.execute(_there(job_id).where(SavedFile.name == new.name)).scalars().all()
    if same := next((row for row in there if _is_same(row, new)), None):
        return Begun(same, is_new=False)
    for row in there:
        if row.state is FileState.UPLOADING:
            _remove(session, row)
    _require_room(session, job, new, settings)
    row = SavedFile(
        job_id=job_id,
        owner_id=job.owner_id,
        attempt=attempt.number,
        name=new.name,
        step=new.step,
        bytes=new.bytes,
        part_bytes=settings.part_bytes,
        sha256=new.sha256,
        path="",
    )
    session.add(row)
    session.flush()
    row.path = f"jobs/{job_id}/saved/{row.id}" + (".safetensors" if new.step is not None else "")
    session.flush()
    session.refresh(row)
    return Begun(row, is_new=True)


def put(session: Session, job_id: int, token: UUID, file_id: int, storage: Storage, part: Part) -> None:
    """Store a part; the same part again changes nothing.

    Raises `AttemptEnded`, `NotFound`, `WrongFileState`, `BadRequest` for a part that is not as declared, and
    `StorageUnavailable`.
    """
    attempts.held_run(session, job_id, token)
    row = _locked(session, job_id, file_id)
    part_uploads.check(upload_of(row), part)
    if row.state is FileState.READY:
        return
    _require_uploading(row)
    if part_uploads.put(session, storage, upload_of(row), part):
        row.changed_at = func.now()


def to_join(session: Session, job_id: int, token: UUID, file_id: int) -> SavedFile:
    """The file, all parts of which have arrived. Raises `AttemptEnded`, `NotFound` and `WrongFileState`."""
    attempts.held_run(session, job_id, token)
    row = _locked(session, job_id, file_id)
    if row.state is FileState.READY:
        return row
    _require_uploading(row)
    if lacks := part_uploads.lacks(upload_of(row), {part.number for part in arrived(session, row)}):
        raise WrongFileState(lacks)
    return row


def join(storage: Storage, row: SavedFile) -> None:
    """Put the parts together, and check what came of it. Raises `FileRefused` and OSError."""
    try:
        found = storage.join(row.path, upload_of(row).parts)
        if found != row.sha256:
            raise FileRefused(f"{row.name} arrived with the SHA-256 {found}, expected {row.sha256}: save it again")
        if row.step is not None:
            with storage.reading(row.path) as file:
                checkpoint_files.require_safetensors(file)
    except NoSafetensors as error:
        raise FileRefused(f"{row.name} is no safetensors file: {error}") from error


def complete(session: Session, job_id: int, token: UUID, file_id: int, *, keep: int | None = None) -> SavedFile:
    """Record that a file is ready: it takes the place of older ones of its name, and a state becomes a checkpoint.

    `keep`: how many of the run's states stay, the newest; without it all do. Raises as `to_join`.
    """
    saved = to_join(session, job_id, token, file_id)
    if saved.state is FileState.READY:
        return saved
    is_replaced = (
        SavedFile.name == saved.name
        if saved.step is None
        else or_(SavedFile.name == saved.name, SavedFile.step == saved.step)
    )
    for older in session.execute(_there(job_id).where(is_replaced, SavedFile.id != saved.id)).scalars():
        _remove(session, older)
    saved.state, saved.changed_at, saved.cleared_at = FileState.READY, func.now(), None
    if saved.step is not None:
        session.flush()
        before = (CheckpointRow.attempt == saved.attempt) & (CheckpointRow.step == saved.step)
        session.execute(delete(CheckpointRow).where(CheckpointRow.job_id == job_id, before))  # one a step and attempt
        session.add(_checkpoint(saved, saved.step))
        record(session, job_id, Saved(attempt=saved.attempt, step=saved.step))
        session.flush()
        _give_up_surplus(session, job_id, keep)
    session.flush()
    return saved


def refuse(session: Session, row: SavedFile) -> None:
    """Give up a file that is not what was declared."""
    _remove(session, row)


def of_job(session: Session, job_id: int) -> Sequence[SavedFile]:
    """The files that a run has, by name."""
    ready = _there(job_id).where(SavedFile.state == FileState.READY)
    return session.execute(ready.order_by(None).order_by(SavedFile.name)).scalars().all()


def of_name(session: Session, job_id: int, name: str) -> SavedFile:
    """The file of this name. Raises `NotFound`, or `Gone` if it was deleted."""
    of_it = select(SavedFile).where(SavedFile.job_id == job_id, SavedFile.name == name)
    ended = of_it.where(SavedFile.state != FileState.UPLOADING)
    newest = ended.order_by(SavedFile.state == FileState.DELETED, SavedFile.id.desc()).limit(1)
    row = session.execute(newest).scalar_one_or_none()
    if row is None:
        raise NotFound(f"job {job_id} has no file {name!r}")
    if row.state is FileState.DELETED:
        raise Gone(f"file {name} of run {job_id} was deleted")
    return row


def remove(session: Session, job_id: int, name: str) -> None:
    """Delete a file; a worker then removes its bytes. Raises as `of_name`, or `StateInUse` while a job needs it."""
    session.execute(queries.job_for_update(job_id))  # so that no job begins from it meanwhile
    row = of_name(session, job_id, name)
    if str(row.step) in _in_use(session, job_id):
        raise StateInUse(f"jobs that have not ended start from {name} of run {job_id}: cancel them first, or wait")
    _remove(session, row)


def forget_after(session: Session, job_id: int, step: int) -> None:
    """Delete the saved states after a step to which the run goes back: they will be saved again."""
    for row in session.execute(_there(job_id).where(SavedFile.step > step)).scalars():
        _remove(session, row)


def arrived(session: Session, row: SavedFile) -> Sequence[SavedFilePart]:
    """The parts that are there."""
    parts = select(SavedFilePart).where(SavedFilePart.file_id == row.id)
    return session.execute(parts.order_by(SavedFilePart.number)).scalars().all()


def upload_of(row: SavedFile) -> Upload:
    """How a file arrives."""
    return Upload(row.bytes, row.part_bytes, f"{UPLOADS}/saved-{row.id}", SavedFilePart, {"file_id": row.id})


def clear_next(session: Session, storage: Storage) -> bool:
    """Remove what the next ended upload no longer needs; returns whether there was one. Raises OSError."""
    ended = select(SavedFile).where(SavedFile.cleared_at.is_(None), SavedFile.state != FileState.UPLOADING)
    row = session.execute(ended.order_by(SavedFile.id).limit(1).with_for_update(skip_locked=True)).scalar_one_or_none()
    if row is None:
        return False
    numbers = [part.number for part in arrived(session, row)]
    storage.remove_folder(upload_of(row).folder, [str(number) for number in numbers])
    if row.state is FileState.DELETED:
        storage.remove([row.path])
    session.execute(delete(SavedFilePart).where(SavedFilePart.file_id == row.id))
    row.cleared_at = func.now()
    return True


def give_up_abandoned(session: Session) -> None:
    """Delete the uploads to which nothing was added for a long time."""
    old = (SavedFile.state == FileState.UPLOADING) & (SavedFile.changed_at < func.now() - ABANDONED_AFTER)
    session.execute(update(SavedFile).where(old).values(state=FileState.DELETED, changed_at=func.now()))


def _there(job_id: int) -> Select[SavedFile]:
    """The files of a run that were not deleted, the newest first."""
    there = select(SavedFile).where(SavedFile.job_id == job_id, SavedFile.state != FileState.DELETED)
    return there.order_by(SavedFile.id.desc())


def _locked(session: Session, job_id: int, file_id: int) -> SavedFile:
    row = select(SavedFile).where(SavedFile.id == file_id, SavedFile.job_id == job_id)
    found = session.execute(row.with_for_update().execution_options(populate_existing=True)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"run {job_id} saves no file {file_id}")
    return found


def _require_uploading(row: SavedFile) -> None:
    if row.state is not FileState.UPLOADING:
        raise WrongFileState(f"{row.name} is {row.state}: save it again")


def _require_room(session: Session, job: Job, new: NewFile, settings: Settings) -> None:
    """Raise `QuotaExceeded` if the owner, or the run, may not have this file too."""
    mine = select(func.coalesce(func.sum(SavedFile.bytes), 0)).where(SavedFile.owner_id == job.owner_id)
    taken = int(session.execute(mine.where(SavedFile.state != FileState.DELETED)).scalar_one())
    if taken + new.bytes > settings.saved_bytes:
        raise QuotaExceeded(
            f"the files that your runs have saved may take {settings.saved_bytes:,} bytes, take {taken:,}, and "
            f"{new.name} has {new.bytes:,}: delete some, or let an admin raise HSU_SAVED_BYTES"
        )
    count = select(func.count()).select_from(_there(job.id).order_by(None).subquery())
    if session.execute(count).scalar_one() >= MOST_FILES:
        raise QuotaExceeded(
            f"run {job.id} has {MOST_FILES:,} files, more a run may not have: delete some, or pack them"
        )


def _checkpoint(row: SavedFile, step: int) -> CheckpointRow:
    return CheckpointRow(
        job_id=row.job_id,
        attempt=row.attempt,
        step=step,
        path=row.path,
        sha256=row.sha256,
        bytes=row.bytes,
        metric=None,
        is_best=False,
    )


def _give_up_surplus(session: Session, job_id: int, keep: int | None) -> None:
    if keep is None:
        return
    states = _there(job_id).where(SavedFile.step.is_not(None), SavedFile.state == FileState.READY)
    newest = session.execute(states.order_by(None).order_by(SavedFile.step.desc(), SavedFile.id.desc())).scalars().all()
    in_use = _in_use(session, job_id)
    for row in newest[keep:]:
        if str(row.step) not in in_use:
            _remove(session, row)


def _in_use(session: Session, job_id: int) -> set[str | None]:
    return set(session.execute(queries.steps_in_use(job_id)).scalars())


def _remove(session: Session, saved: SavedFile) -> None:
    saved.state, saved.changed_at, saved.cleared_at = FileState.DELETED, func.now(), None
    kept = select(CheckpointRow).where(CheckpointRow.job_id == saved.job_id, CheckpointRow.path == saved.path)
    for checkpoint in session.execute(kept.where(CheckpointRow.removed_at.is_(None))).scalars():
        checkpoints.note_superseded(checkpoint)


def _is_same(row: SavedFile, new: NewFile) -> bool:
    return (row.sha256, row.bytes, row.step) == (new.sha256, new.bytes, new.step)
