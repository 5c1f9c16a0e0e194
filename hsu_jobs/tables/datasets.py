"""Which data sets have users brought, and how far is each upload?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row
from hsu_jobs.tables.people import User


class DatasetState(StrEnum):
    """The state of a version."""

    UPLOADING = "uploading"
    CONVERTING = "converting"
    """All of it has arrived: a worker converts it, or will."""
    READY = "ready"
    REFUSED = "refused"
    """It could not be converted; `reason` says why."""
    DELETED = "deleted"


class DatasetRow(Row):
    """A version of a data set. Its number is never given to another one, also when it is deleted."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("owner_id", "name", "version"),
        Index("datasets_to_convert", "id", postgresql_where=text("state = 'converting'")),
        Index("datasets_to_clear", "id", postgresql_where=text("cleared_at IS NULL")),
        Index("datasets_by_content", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    name: Mapped[str]
    version: Mapped[int]
    shared: Mapped[bool]
    """Whether all users may use it."""
    licence: Mapped[str]
    source: Mapped[str]
    options: Mapped[dict[str, Any]]
    upload_bytes: Mapped[int] = mapped_column(BigInteger)
    test_bytes: Mapped[int] = mapped_column(BigInteger)
    """How many of these, at the end, are the file of the test part."""
    part_bytes: Mapped[int]
    upload_sha256: Mapped[str]
    state: Mapped[DatasetState] = mapped_column(OpenEnum(DatasetState), server_default="uploading")
    """A state of a newer version is a plain text: it is shown, and the set cannot be used."""
    reason: Mapped[str | None]
    sha256: Mapped[str | None]
    """Of the converted content, under which it is stored."""
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Of the converted content."""
    facts: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """When a part arrived last, or the state changed."""
    cleared_at: Mapped[datetime | None]
    """When all files were removed that this version no longer needs; null while there may be some."""
    holder: Mapped[UUID | None]
    """The worker that converts it now: it fences the result."""
    held_until: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(server_default="0")
    """Conversions that were begun."""

    owner: Mapped[User] = relationship(lazy="raise")


class DatasetPart(Row):
    """A part of an upload that has arrived."""

    __tablename__ = "dataset_parts"

    dataset_id: Mapped[int] = mapped_column(ForeignKey(DatasetRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1 on."""
    bytes: Mapped[int]
    sha256: Mapped[str]
