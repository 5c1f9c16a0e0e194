"""Who uses the service, and with which key?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column, relationship

from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row


class Role(StrEnum):
    """What a key may do: a viewer reads, a member submits, an admin sees all users' jobs."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"

    def covers(self, other: Role) -> bool:
        """Whether this role may do all that the other may. Only an admin's role covers a role of a newer version."""
        ascending = (Role.VIEWER, Role.MEMBER, Role.ADMIN)
        if other not in ascending:
            return self is Role.ADMIN
        return ascending.index(self) >= ascending.index(other)


class User(Row):
    """A person who submits jobs."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    share: Mapped[float] = mapped_column(server_default="1")
    """The share of the cluster, relative to the other users' shares."""
    max_gpus: Mapped[int | None]
    """Quota: GPUs that may be in use at once; no limit if null."""
    max_waiting: Mapped[int | None]
    """Quota: jobs that may be queued or paused at once; `HSU_MAX_WAITING` if null."""
    gpus: Mapped[int] = mapped_column(server_default="0")
    """GPUs in use now."""
    usage: Mapped[float] = mapped_column(server_default="0")
    """GPU seconds up to `usage_at`, halved every `HSU_USAGE_HALF_LIFE`."""
    usage_at: Mapped[datetime] = mapped_column(server_default=NOW)


class ApiKey(Row):
    """A key, of which only the digest is kept, and what distinguishes it from its holder's other keys."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("api_keys_by_maker", "made_by_id"), Index("api_keys_by_predecessor", "replaces_id"))

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    name: Mapped[str] = mapped_column(server_default="")
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    role: Mapped[Role] = mapped_column(OpenEnum(Role))
    """A role that only a newer version knows is a plain text, and gives no access."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Recorded once a minute at most."""
    made_by_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    """The key that asked for it; null if an operator made it at the machine."""
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    """The key that it replaces after a rotation."""

    user: Mapped[User] = relationship(lazy="raise")
