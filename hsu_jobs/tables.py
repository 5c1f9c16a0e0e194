"""What is kept: the rows of Postgres.

Knows columns, keys and indexes. Holds no behaviour; questions are in `queries`, moves in `lifecycle`.
Relationships raise when touched unloaded: a query by accident is an error.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from hsu_jobs.states import State, Stop, Wanted


class Role(StrEnum):
    """What a key may do: a viewer reads, a member submits, an admin sees everyone's jobs."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Duty(StrEnum):
    """Whether a worker takes jobs."""

    ACTIVE = "active"
    DRAINING = "draining"
    """An operator wants it empty: it takes no new job."""
    EXCLUDED = "excluded"
    """Its hardware failed several times in a row: it takes no job until an operator restores it."""


def _by_value(kind: type[StrEnum]) -> Enum:
    return Enum(kind, native_enum=False, length=16, values_callable=lambda members: [m.value for m in members])


_BY_VALUE: dict[Any, Any] = {kind: _by_value(kind) for kind in (State, Wanted, Stop, Role, Duty)}


class Row(DeclarativeBase):
    """Every table's base: how Python's types are stored."""

    type_annotation_map = {  # noqa: RUF012
        str: Text,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text),
        **_BY_VALUE,
    }


_id = BigInteger, Identity()
_now = func.now()


class User(Row):
    """Somebody who submits jobs."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    share: Mapped[float] = mapped_column(server_default="1")
    """Of the cluster, relative to the others' shares."""
    max_gpus: Mapped[int | None]
    """Quota: GPUs that may be in use at once; no limit if null."""
    gpus: Mapped[int] = mapped_column(server_default="0")
    """In use now."""
    usage: Mapped[float] = mapped_column(server_default="0")
    """GPU seconds up to `usage_at`, halved every `HSU_USAGE_HALF_LIFE`."""
    usage_at: Mapped[datetime] = mapped_column(server_default=_now)


class ApiKey(Row):
    """A key, of which only the digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    role: Mapped[Role]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise")


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
        Index("jobs_of_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
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
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    runnable_at: Mapped[datetime] = mapped_column(server_default=_now)
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

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    number: Mapped[int] = mapped_column(SmallInteger)
    worker: Mapped[str]
    device: Mapped[str]
    gpus: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    token: Mapped[UUID] = mapped_column(unique=True)
    started_at: Mapped[datetime] = mapped_column(server_default=_now)
    lease_expires_at: Mapped[datetime]
    resumed_from: Mapped[int | None] = mapped_column(BigInteger)
    """The step of the checkpoint that it went on from; null if it began at the beginning."""
    step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    progress_at: Mapped[datetime | None]
    """When `step` last grew."""
    stop: Mapped[Stop | None]
    """Why the service wants it to stop."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]

    job: Mapped[Job] = relationship(lazy="raise", back_populates="attempts")


class CheckpointRow(Row):
    """A saved state, known once the curves before it are written."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "step"),)

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    attempt: Mapped[int] = mapped_column(SmallInteger)
    step: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    """Within the artifacts folder."""
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    metric: Mapped[float | None]
    """The last test_accuracy up to this step."""
    is_best: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=_now)
    removed_at: Mapped[datetime | None]
    removed_because: Mapped[str | None]


class LogChunk(Row):
    """A piece of what an attempt's runner printed; the oldest pieces go when there are too many."""

    __tablename__ = "log_chunks"

    attempt_id: Mapped[int] = mapped_column(ForeignKey(Attempt.id), primary_key=True)
    first_byte: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Where it begins in the whole log, in bytes of UTF-8."""
    at: Mapped[datetime] = mapped_column(server_default=_now)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Worker(Row):
    """A machine's worker: what it has, whether it takes jobs, and when it was last heard of."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    devices: Mapped[list[str]]
    slots: Mapped[int] = mapped_column(SmallInteger)
    """Jobs of one GPU that it runs at once."""
    duty: Mapped[Duty]
    faults: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts in a row that its hardware broke."""
    holding: Mapped[int | None] = mapped_column(ForeignKey(Job.id))
    """A job that waits for more GPUs than are free here: what becomes free is kept for it."""
    started_at: Mapped[datetime] = mapped_column(server_default=_now)
    seen_at: Mapped[datetime] = mapped_column(server_default=_now)


class EventRow(Row):
    """Something that happened to a job."""

    __tablename__ = "events"
    __table_args__ = (Index("events_of_job", "job_id", "id"),)

    id: Mapped[int] = mapped_column(*_id, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    at: Mapped[datetime] = mapped_column(server_default=_now)
    event: Mapped[dict[str, Any]]


class Submission(Row):
    """Which job an idempotency key made, and from which spec."""

    __tablename__ = "submissions"

    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    spec_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id))
    created_at: Mapped[datetime] = mapped_column(server_default=_now)


class SeriesRow(Row):
    """A curve's name and what it is to be compared with, written once per job; blocks refer to its number."""

    __tablename__ = "curve_series"
    __table_args__ = (UniqueConstraint("job_id", "layer", "measure", postgresql_nulls_not_distinct=True),)

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    layer: Mapped[str | None]
    measure: Mapped[str]
    random: Mapped[float | None]
    """What uniformly random points of the layer's shape would have."""
    optimum: Mapped[float | None]
    """The proven optimum for the layer's shape."""


class Block(Row):
    """A flush of curve points: a matrix of steps × series, so that a step of 100 series is never 100 rows.

    A step is reported once, with one set of series; so no two blocks of a job share a first step, and writing a
    block twice writes it once.
    """

    __tablename__ = "curve_blocks"

    job_id: Mapped[int] = mapped_column(ForeignKey(Job.id), primary_key=True)
    first_step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_step: Mapped[int] = mapped_column(BigInteger)
    series: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    """Numbers of the columns."""
    steps: Mapped[bytes] = mapped_column(LargeBinary)
    """int64, little-endian, ascending."""
    times: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, seconds since the epoch, one a step."""
    points: Mapped[bytes] = mapped_column(LargeBinary)
    """float64, a row a step, a column a series; NaN and infinities as they are."""
