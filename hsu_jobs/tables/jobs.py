"""What are a job, its attempts, and what happened to it?"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables.base import ID, NOW, Row
from hsu_jobs.tables.people import User

ACCURACY = "coalesce(nullif((result ->> 'test_accuracy')::float8, 'NaN'::float8), '-Infinity'::float8)"
"""What a job that is sorted by its accuracy counts as: one without any comes last."""


class Job(Row):
    """A spec with an owner and a life."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_runnable",
            "pool",
            "owner_id",
            "gpus",
            text("priority DESC"),
            "id",
            postgresql_where=text("state = 'queued' AND wanted = 'run'"),
        ),
        Index("jobs_by_deadline", "deadline_at", postgresql_where=text("state IN ('queued', 'paused')")),
        Index("jobs_of_owner", "owner_id", "id"),
        Index("jobs_waiting_of_owner", "owner_id", postgresql_where=text("state IN ('queued', 'paused')")),
        Index("jobs_of_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("jobs_by_fingerprint", "fingerprint", "id"),
        Index("jobs_by_state", "state", "id"),
        Index("jobs_by_regularizer", text("(spec #>> '{regularizer,kind}')"), "id"),
        Index("jobs_by_tag", "tags", postgresql_using="gin"),
        Index("jobs_by_accuracy", text(f"({ACCURACY})"), "id"),
        Index("jobs_by_creation", "created_at", postgresql_using="brin"),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    name: Mapped[str]
    tags: Mapped[list[str]]
    spec: Mapped[dict[str, Any]]
    fingerprint: Mapped[str]
    state: Mapped[State]
    wanted: Mapped[Wanted]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    gpus: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    pool: Mapped[str] = mapped_column(server_default="default")
    strikes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts in a row that broke without a checkpoint further on."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    """The job that this one goes on from, and the step of the checkpoint: its own curves begin there."""
    parent_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    runnable_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """Not to be claimed before: the time since which it waits, or until which it backs off."""
    deadline_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]

    owner: Mapped[User] = relationship(lazy="raise")
    attempts: Mapped[list[Attempt]] = relationship(lazy="raise", order_by="Attempt.number", back_populates="job")


class Attempt(Row):
    """One try at a job. Its token fences every write; its two clocks tell a dead process from a hanging one."""

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("attempts_one_live_per_job", "job_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("attempts_by_expiry", "lease_expires_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    number: Mapped[int] = mapped_column(SmallInteger)
    worker: Mapped[str]
    device: Mapped[str]
    gpus: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    token: Mapped[UUID] = mapped_column(unique=True)
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_expires_at: Mapped[datetime]
    begun_at: Mapped[datetime | None]
    """When it had settled what it goes on from: what an attempt before it measured from there on was forgotten."""
    resumed_from: Mapped[int | None] = mapped_column(BigInteger)
    """The step of the checkpoint that it went on from; null if it began at the beginning."""
    step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    recorded: Mapped[int] = mapped_column(BigInteger, server_default="-1")
    """The last step up to which its curves are written."""
    progress_at: Mapped[datetime | None]
    """When `step` last grew."""
    stop: Mapped[Stop | None]
    """Why the service wants it to stop."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]

    job: Mapped[Job] = relationship(lazy="raise", back_populates="attempts")


class EventRow(Row):
    """Something that happened to a job."""

    __tablename__ = "events"
    __table_args__ = (Index("events_of_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    event: Mapped[dict[str, Any]]
