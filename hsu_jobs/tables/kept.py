"""What do attempts leave? Saved states, what they printed, and which test examples they got right."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import ID, NOW, Row
from hsu_jobs.tables.jobs import Attempt, Job


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
