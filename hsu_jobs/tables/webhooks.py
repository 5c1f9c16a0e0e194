"""Which addresses are called about events, and with which result?

A trigger on `events` addresses each event to its owner's webhooks in the statement that writes the event (migration
0006): no message is lost or made twice, whichever code writes the event.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import ID, NOW, OpenEnum, Row
from hsu_jobs.tables.jobs import EventRow
from hsu_jobs.tables.people import User


class Webhook(Row):
    """An address that is called about its owner's jobs."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("webhooks_of_owner", "owner_id", "id"),)

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    url: Mapped[str]
    secret: Mapped[str]
    """In plain text, since each message is signed with it; shown to its owner once."""
    events: Mapped[list[str]]
    """What it is called about: kinds of events, or states that they bring."""
    active: Mapped[bool] = mapped_column(server_default="true")
    disabled_because: Mapped[str | None]
    """Why the service made it inactive."""
    failures: Mapped[int] = mapped_column(server_default="0")
    """Attempts in a row that failed."""
    rests_until: Mapped[datetime] = mapped_column(server_default=NOW)
    """The earliest time of the next call."""
    courier: Mapped[UUID | None]
    """The sender that has its messages now: it fences their results."""
    courier_until: Mapped[datetime | None]
    served_at: Mapped[datetime | None]
    """When a sender last claimed it: the order of owners depends on it."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up."""


class Delivery(Row):
    """A message to a webhook: about an event, or a ping if there is none."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("deliveries_of_webhook", "webhook_id", "id"),
        Index("deliveries_pending", "webhook_id", "next_attempt_at", postgresql_where=text("state = 'pending'")),
        Index("deliveries_by_age", "created_at"),
        Index("deliveries_pings", "webhook_id", "id", postgresql_where=text("event_id IS NULL")),
    )

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey(Webhook.id, ondelete="CASCADE"))
    event_id: Mapped[int | None] = mapped_column(ForeignKey(EventRow.id))
    message: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    """The same at every attempt, so that a receiver can recognise a repetition."""
    state: Mapped[DeliveryState] = mapped_column(OpenEnum(DeliveryState), server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    asked_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """The time since which delivery is attempted: when it was made, or last requested again."""
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempted_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """The status of the last answer; null if there was none."""
    error: Mapped[str | None]
    """What was wrong at the last attempt, bounded."""
    response: Mapped[str | None]
    """The beginning of the last answer's body."""
