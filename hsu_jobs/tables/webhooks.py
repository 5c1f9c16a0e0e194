"""Whom do we tell of what happens, and what became of telling them?

A trigger on `events` addresses each event to its owner's webhooks in the very statement that writes the event
(migration 0006): whoever writes an event, in whatever way, no message is lost or made twice.
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
    """An address that wants to be told of its owner's jobs."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("webhooks_of_owner", "owner_id", "id"),)

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    url: Mapped[str]
    secret: Mapped[str]
    """In clear, since each message is signed with it; shown to its owner once."""
    events: Mapped[list[str]]
    """What it wants to be told: kinds of events, or states that they bring."""
    active: Mapped[bool] = mapped_column(server_default="true")
    disabled_because: Mapped[str | None]
    """Why we made it inactive ourselves."""
    failures: Mapped[int] = mapped_column(server_default="0")
    """Attempts in a row that failed."""
    rests_until: Mapped[datetime] = mapped_column(server_default=NOW)
    """Not to be called before."""
    courier: Mapped[UUID | None]
    """Who has its messages just now: the fence of what becomes of them."""
    courier_until: Mapped[datetime | None]
    served_at: Mapped[datetime | None]
    """When a courier last took it: owners take turns by this."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class DeliveryState(StrEnum):
    """What became of a message."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up."""


class Delivery(Row):
    """A message to a webhook: of an event, or a ping if there is none."""

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
    """The same at every attempt, so that who hears it twice can tell."""
    state: Mapped[DeliveryState] = mapped_column(OpenEnum(DeliveryState), server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    asked_at: Mapped[datetime] = mapped_column(server_default=NOW)
    """The time since which it is tried: when it was made, or last asked for again."""
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=NOW)
    attempted_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """Of the last answer; null if there was none."""
    error: Mapped[str | None]
    """What was wrong at the last attempt, bounded."""
    response: Mapped[str | None]
    """The beginning of the last answer's body."""
