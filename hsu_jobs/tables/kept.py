"""What do attempts leave? Saved states and files, what they printed, and which test examples they got right."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row
from hsu_jobs.tables.jobs import Attempt, Job
from hsu_jobs.tables.people import User


class CheckpointRow(Row):
    """A saved state, known once the curves before it are written."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "step"),)

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    attempt: Mapped[int]
    step: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    """Within the artifacts folder."""
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    metric: Mapped[float | None]
    """The last value of the primary metric (of a classification, test_accuracy) up to this step."""
    is_best: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    removed_at: Mapped[datetime | None]
    removed_because: Mapped[str | None]


class FileState(StrEnum):
    """The state of a file that a tracked run saves."""

    UPLOADING = "uploading"
    READY = "ready"
    DELETED = "deleted"
    """By its owner, or because a newer one took its place."""


class SavedFile(Row):
    """A file that a tracked run saves; the newest of a name is the one that is meant."""

    __tablename__ = "saved_files"
    __table_args__ = (
        Index("saved_files_of_job", "job_id", "name"),
        Index("saved_files_of_owner", "owner_id", postgresql_where=text("state <> 'deleted'")),
        Index("saved_files_to_clear", "id", postgresql_where=text("cleared_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    attempt: Mapped[int]
    name: Mapped[str]
    step: Mapped[int | None] = mapped_column(BigInteger)
    """Of a saved state: the step from which the loop goes on with it. It is a checkpoint too, once it is ready."""
    bytes: Mapped[int] = mapped_column(BigInteger)
    part_bytes: Mapped[int]
    sha256: Mapped[str]
    path: Mapped[str]
    """Within the artifacts folder, once it is ready."""
    state: Mapped[FileState] = mapped_column(OpenEnum(FileState), server_default="uploading")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """When a part arrived last, or the state changed."""
    cleared_at: Mapped[datetime | None]
    """When all files were removed that it no longer needs; null while there may be some."""


class SavedFilePart(Row):
    """A part of such a file that has arrived."""

    __tablename__ = "saved_file_parts"

    file_id: Mapped[int] = mapped_column(ForeignKey(SavedFile.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1 on."""
    bytes: Mapped[int]
    sha256: Mapped[str]


class LogChunk(Row):
    """A piece of what an attempt's runner printed; the oldest pieces are deleted when there are too many."""

    __tablename__ = "log_chunks"

    attempt_id: Mapped[int] = mapped_column(ForeignKey(Attempt.id), primary_key=True)
    first_byte: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Where it begins in the whole log, in bytes of UTF-8."""
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class AnswersRow(Row):
    """Which examples of the test set a job's network classified right; of the attempt that succeeded."""

    __tablename__ = "test_answers"

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), primary_key=True)
    count: Mapped[int]
    """The examples of the test set."""
    bits: Mapped[bytes] = mapped_column(LargeBinary)
    """One bit each, in the order of the test set, the most significant bit of a byte first."""
