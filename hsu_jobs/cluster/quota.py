"""How much may one user have waiting? Queued or paused jobs, and messages that they requested from webhooks.

Knows rows. Raises `QuotaExceeded`, which says what would make room. A quota applies to the owner, also to an admin, who
can raise it in one request.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Boolean, func, literal_column, select, text
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.errors import QuotaExceeded
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, Webhook

ALONE = 1100
"""So many jobs below the quota, a user's submissions begin to run one after another, so that none overlooks another:
as many as come in one request, and some more."""

_WAITING = text("""
SELECT name, most, (
    SELECT count(*) FROM (
        SELECT FROM jobs WHERE owner_id = quota.id AND state IN ('queued', 'paused') LIMIT most + 1
    ) AS counted
) AS waiting
FROM (SELECT id, name, CAST(coalesce(max_waiting, :usual) AS bigint) AS most FROM users WHERE id = :owner) AS quota
""")
"""Counted only as far as it matters."""


class _Waiting(NamedTuple):
    name: str
    most: int
    waiting: int


def require_room_for_jobs(session: Session, owner_id: int, new: int, settings: Settings) -> None:
    """Raise `QuotaExceeded` if so many more jobs of a user may not wait."""
    found = _waiting(session, owner_id, settings)
    if found.waiting + new + ALONE > found.most:
        session.execute(queries.hold(f"waiting jobs of {owner_id}"))
        found = _waiting(session, owner_id, settings)
    if found.waiting + new > found.most:
        held = f"{found.waiting:,}" if found.waiting <= found.most else f"more than {found.most:,}"
        raise QuotaExceeded(
            f"{found.name} may have {found.most:,} jobs queued or paused, has {held}, and asked for {new:,} more: "
            "wait until some have ended, cancel some, or let an admin raise max_waiting"
        )


def room_for_jobs(session: Session, owner_id: int, settings: Settings) -> int:
    """How many more jobs of a user may wait; nobody else adds some until the transaction ends."""
    session.execute(queries.hold(f"waiting jobs of {owner_id}"))
    found = _waiting(session, owner_id, settings)
    return max(0, found.most - found.waiting)


def require_room_for_messages(session: Session, owner_id: int, settings: Settings) -> None:
    """Raise `QuotaExceeded` if a user may not request one more message: a ping, or one that is sent again."""
    session.execute(queries.hold(f"messages of {owner_id}"))
    was_asked_for = Delivery.event_id.is_(None) | (Delivery.asked_at > Delivery.created_at)
    on_their_way = literal_column("(deliveries.state = 'pending')", Boolean)  # the exact text of the partial index
    counted = select(func.count()).select_from(Delivery).join(Webhook).where(on_their_way, was_asked_for)
    if session.execute(counted.where(Webhook.owner_id == owner_id)).scalar_one() >= settings.webhook_asked:
        raise QuotaExceeded(
            f"{settings.webhook_asked:,} pings and messages that you asked for again are on their way, as many as one "
            "may have: wait until some have arrived or failed"
        )


def _waiting(session: Session, owner_id: int, settings: Settings) -> _Waiting:
    return _Waiting(*session.execute(_WAITING, {"owner": owner_id, "usual": settings.max_waiting}).one())
