"""What is stored of a job, its attempts, and its events?"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Computed,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    any_,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, aliased, foreign, mapped_column, relationship

from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row
from hsu_jobs.tables.people import User

ACCURACY = "coalesce(nullif((result ->> 'test_accuracy')::float8, 'NaN'::float8), '-Infinity'::float8)"
"""The value by which jobs are sorted by accuracy: one without any comes last."""


MOST_ATTEMPTS = 20
"""Attempts that are loaded and shown with a job: its view costs the same however often it was preempted or lost."""


class Job(Row):
    """A spec with an owner and a life."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_runnable",
            "pool",
            "plugins",
            "dataset",
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
        Index(
            "jobs_started_from",
            text("(spec #>> '{initial,job}')"),
            postgresql_where=text("spec #>> '{initial,job}' IS NOT NULL"),
        ),
        Index(
            "jobs_of_own_data",
            text("(spec #>> '{dataset,name}')"),
            postgresql_where=text("dataset = 'own'"),
        ),
        Index("jobs_by_tag", "tags", postgresql_using="gin"),
        Index("jobs_by_accuracy", text(f"({ACCURACY})"), "id"),
        Index("jobs_by_creation", "created_at", postgresql_using="brin"),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    name: Mapped[str]
    tags: Mapped[list[str]]
    spec: Mapped[dict[str, Any]]
    dataset: Mapped[str] = mapped_column(Computed("coalesce(spec #>> '{dataset,kind}', '')", persisted=True))
    """The kind of data set that a machine must have for it; empty if it needs none."""
    plugins: Mapped[list[str]] = mapped_column(server_default="{}")
    """The plug-ins that a machine must have for it, in order; known without reading the spec."""
    fingerprint: Mapped[str]
    state: Mapped[State] = mapped_column(OpenEnum(State))
    """A state of a newer version is a plain text: it is shown, and no move leads out of it."""
    wanted: Mapped[Wanted] = mapped_column(OpenEnum(Wanted))
    """A value that only a newer version knows is a plain text: the job does not start, and a running attempt stops."""
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    gpus: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    pool: Mapped[str] = mapped_column(server_default="default")
    strikes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts in a row that failed without a further checkpoint."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    """The job that this one continues, and the step of the checkpoint: its own curves begin there."""
    parent_step: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    runnable_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """The earliest time of a claim: the time since which it waits, or until which it backs off."""
    deadline_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None]
    failure: Mapped[dict[str, Any] | None]

    owner: Mapped[User] = relationship(lazy="raise")
    attempts: Mapped[list[Attempt]] = relationship(
        lazy="raise", order_by="Attempt.number", viewonly=True, primaryjoin=lambda: _is_late_attempt()
    )
    """The last `MOST_ATTEMPTS` of them, in order."""


class Attempt(Row):
    """One try at a job. Its token fences every write; its two clocks distinguish a dead process from a hanging one."""

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("attempts_one_live_per_job", "job_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("attempts_by_expiry", "lease_expires_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    number: Mapped[int]
    worker: Mapped[str]
    device: Mapped[str]
    gpus: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    token: Mapped[UUID] = mapped_column(unique=True)
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    lease_expires_at: Mapped[datetime]
    begun_at: Mapped[datetime | None]
    """When it had chosen where it resumes: what earlier attempts measured from there on was deleted."""
    resumed_from: Mapped[int | None] = mapped_column(BigInteger)
    """The step of the checkpoint from which it resumed; null if it began at the beginning."""
    step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    recorded: Mapped[int] = mapped_column(BigInteger, server_default="-1")
    """The last step up to which its curves are written."""
    progress_at: Mapped[datetime | None]
    """When `step` last grew."""
    applied: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """The sequence number of the last batch of points that a tracked run's client sent and that is applied."""
    environment: Mapped[dict[str, Any] | None] = mapped_column(deferred=True, deferred_raiseload=True)
    """Where a tracked run's client runs; too large to be read with every job."""
    stop: Mapped[Stop | None] = mapped_column(OpenEnum(Stop))
    """Why the service wants it to stop; a reason that only a newer version knows is a plain text, and valid too."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]

    job: Mapped[Job] = relationship(lazy="raise")


class EventRow(Row):
    """Something that happened to a job."""

    __tablename__ = "events"
    __table_args__ = (Index("events_of_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    event: Mapped[dict[str, Any]]


def _is_late_attempt() -> ColumnElement[bool]:
    """The last attempts of a job, by a few index probes.

    A window function would read every attempt, and with `job_id = jobs.id` Postgres hashes all of them (2 s with
    100,000; this way 0.3 ms): the equality is written as a range.
    """
    other = aliased(Attempt)
    late = select(other.id).where(other.job_id == Job.id).order_by(other.number.desc()).limit(MOST_ATTEMPTS)
    is_late = Attempt.id == any_(func.array(late.correlate(Job).scalar_subquery()))
    return (foreign(Attempt.job_id) >= Job.id) & (foreign(Attempt.job_id) <= Job.id) & is_late
