"""Which installation is this?"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import Row


class Installation(Row):
    """The one row that says which installation this database belongs to; a marker in the storage repeats it."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("number = 1", name="installation_is_one"),)

    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default="1")
    identity: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    storage_marked_at: Mapped[datetime | None]
    """When the marker was written; from then on a storage without it is not ours, or is away."""
