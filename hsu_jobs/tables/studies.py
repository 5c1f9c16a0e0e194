"""Which studies are there, which cells do they have, and which runs are their members?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hsu_jobs.states import Wanted
from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row
from hsu_jobs.tables.jobs import Job
from hsu_jobs.tables.people import User


class Origin(StrEnum):
    """Why a run is a member of a study."""

    QUEUED = "queued"
    """The study queued it, or will."""
    REUSED = "reused"
    """It was there, with the same fingerprint."""
    ENLISTED = "enlisted"
    """Its owner put it into an arm."""
    RETRIED = "retried"
    """The study queued it in place of one that failed."""


class StudyRow(Row):
    """A comparison that somebody asked for."""

    __tablename__ = "studies"
    __table_args__ = (
        Index("studies_of_owner", "owner_id", "id"),
        Index("studies_to_queue", "id", postgresql_where=text("waits")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    name: Mapped[str]
    spec: Mapped[dict[str, Any]]
    """As it is now: with the seeds and the arms by which it was extended."""
    wanted: Mapped[Wanted] = mapped_column(OpenEnum(Wanted), server_default="run")
    """What its owner wants: a study that is to pause or to be cancelled queues nothing."""
    waits: Mapped[bool] = mapped_column(server_default="false")
    """Whether it has members that are still to be queued."""
    extensions: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    """When it was extended, by what, and how many runs had ended by then."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    owner: Mapped[User] = relationship(lazy="raise")


class SearchRow(Row):
    """An arm at a point of the axes, if the study searches: where its trials begin, which are its cells."""

    __tablename__ = "study_searches"

    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 0 on, in the order of the study."""
    arm: Mapped[str]
    at: Mapped[dict[str, Any]]
    """The values of the axes by JSON pointer."""
    spec: Mapped[dict[str, Any]]
    """Of the jobs of a trial, but for the seed and the searched fields."""


class CellRow(Row):
    """An arm at a point of the axes."""

    __tablename__ = "study_cells"
    __table_args__ = (
        Index(
            "study_cell_of_trial",
            "study_id",
            "search",
            "trial",
            unique=True,
            postgresql_where=text("trial IS NOT NULL"),
        ),
    )

    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 0 on, in the order of the study."""
    arm: Mapped[str]
    at: Mapped[dict[str, Any]]
    """The values of the axes by JSON pointer; an axis that the arm is not crossed with is missing."""
    spec: Mapped[dict[str, Any] | None]
    """Of its jobs, but for the seed; null in an arm of enlisted runs only, and in a trial at a point without a spec."""
    search: Mapped[int | None]
    """The number of the search of which it is a trial; null for any other cell."""
    trial: Mapped[int | None]
    """Which trial of this search, from 0 on."""


class MemberRow(Row):
    """A run that a cell has, or will have."""

    __tablename__ = "study_members"
    __table_args__ = (
        ForeignKeyConstraint(
            ["study_id", "cell"], [CellRow.study_id, CellRow.number], ondelete="CASCADE", name="member_of_cell"
        ),
        Index(
            "study_member_of_seed",
            "study_id",
            "cell",
            "seed",
            unique=True,
            postgresql_where=text("is_current AND seed IS NOT NULL"),
        ),
        Index("study_members_of_study", "study_id", "cell", "id"),
        Index("study_members_of_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    study_id: Mapped[int] = mapped_column(BigInteger)
    cell: Mapped[int]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    """Null if it is not known: such a run has no pair."""
    job_id: Mapped[int | None] = mapped_column(ForeignKey(Job.id))
    """Null until it is queued."""
    origin: Mapped[Origin] = mapped_column(OpenEnum(Origin))
    is_current: Mapped[bool] = mapped_column(server_default="true")
    """False for one that was run again: it stays visible, and counts no more."""
    values: Mapped[dict[str, Any] | None]
    """Its number for each metric, once it has succeeded; null before that."""
