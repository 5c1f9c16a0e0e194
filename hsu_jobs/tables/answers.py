"""What was answered to requests that must not be executed twice?"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import NOW, Row
from hsu_jobs.tables.people import User


class Answer(Row):
    """The answer that a user got under an idempotency key, and a digest of the request."""

    __tablename__ = "answers"
    __table_args__ = (Index("answers_by_age", "created_at"),)

    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    asked_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    """Over method, path and body."""
    status: Mapped[int] = mapped_column(SmallInteger)
    location: Mapped[str | None]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
