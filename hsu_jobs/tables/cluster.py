"""Which machines are there?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import NOW, OpenEnum, Row
from hsu_jobs.tables.jobs import Job


class Duty(StrEnum):
    """Whether a worker takes jobs."""

    ACTIVE = "active"
    DRAINING = "draining"
    """An operator wants it to be empty: it takes no new job."""
    EXCLUDED = "excluded"
    """Its hardware failed several times in a row: it takes no job until an operator restores it."""


class Worker(Row):
    """A machine's worker: what it has, whether it takes jobs, and when it last reported."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    identity: Mapped[UUID | None]
    """The identity of the process that has this name, or had it last; null if its version knows no identities."""
    pool: Mapped[str]
    devices: Mapped[list[str]]
    slots: Mapped[int]
    """Jobs of one GPU that it runs at once."""
    duty: Mapped[Duty] = mapped_column(OpenEnum(Duty))
    faults: Mapped[int] = mapped_column(server_default="0")
    """Attempts in a row that failed because of its hardware."""
    holding: Mapped[int | None] = mapped_column(ForeignKey(Job.id))
    """A job that waits for more GPUs than are free here: GPUs that become free are kept for it."""
    datasets: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """The data sets that it can read, or may download; null until it has reported."""
    plugins: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """The plug-ins that it has, each with its version; null until it has reported."""
    broken_plugins: Mapped[list[str]] = mapped_column(server_default="{}")
    """The plug-ins that it cannot use, each with its reason."""
    lacks: Mapped[list[str]] = mapped_column(server_default="{}")
    """Why it takes no jobs now: what it cannot reach, each with its reason."""
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
