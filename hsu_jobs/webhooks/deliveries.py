"""Which messages are due, which sender has them, and what happens to one after an attempt?

Knows rows. A sender (a thread of some worker) claims a webhook with a batch of its messages, the oldest first. The
claim is a lease: what the sender writes after its end is dropped. So each message is delivered at least once, by one
sender at a time. Owners share the senders: the owner with the fewest is next, and each has a maximum. A message that
fails is tried again for `HSU_WEBHOOK_PATIENCE`; a webhook that fails rests longer each time, so that a receiver that is
down costs one attempt a rest, however many messages wait. The columns call a sender `courier`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from random import SystemRandom
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Select, delete, func, literal_column, select, update
from sqlalchemy.orm import Session, joinedload

from hsu_jobs import row_failures
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, DeliveryState, EventRow, Job, Webhook
from hsu_jobs.webhooks import messages

LEASE = timedelta(seconds=60)
"""How long a claim lasts, from its start or its last result on; an attempt takes a quarter of it at most."""
_AT_ONCE = 20
LONGEST_WAIT = timedelta(hours=4)
"""Between two attempts at one message."""
LONGEST_REST = timedelta(minutes=10)
"""Between two attempts at one webhook."""
MOST_TOLD = 500
"""Characters kept of an error."""
_GONE = 410

_now = func.now()
_IS_PENDING = literal_column("(deliveries.state = 'pending')", Boolean)
"""The exact text of the partial index."""
_random = SystemRandom()


class Message(NamedTuple):
    """A message to send."""

    delivery_id: int
    id: str
    body: bytes


class Batch(NamedTuple):
    """A sender's claim on a webhook, with the messages to send."""

    webhook_id: int
    courier: UUID
    url: str
    secret: str
    messages: Sequence[Message]


class Answer(NamedTuple):
    """The result of an attempt."""

    status: int | None
    """Null if there was no answer."""
    error: str | None = None
    """What was wrong; null if it was delivered."""
    response: str | None = None


def due(session: Session, *, limit: int = 100) -> list[int]:
    """The webhooks that have messages to send."""
    chosen = select(Webhook.id).where(_needs_a_sender()).order_by(Webhook.rests_until).limit(limit)
    return list(session.execute(chosen).scalars())


def claim_next(session: Session, *, most_of_one: int) -> Batch | None:
    """Claim the webhook that is next; None if nothing is due, or only messages of owners with the most senders allowed.

    Next is a webhook of the owner with the fewest senders now, on all workers together; of several owners, the one who
    was served longest ago. So an owner with slow receivers delays only their own messages.
    """
    owner = (
        select(
            Webhook.owner_id.label("id"),
            func.count().filter(Webhook.courier_until > _now).label("couriers"),
            func.max(Webhook.served_at).label("served_at"),
        )
        .group_by(Webhook.owner_id)
        .subquery("owner")
    )
    due = select(Webhook).join(owner, owner.c.id == Webhook.owner_id).where(_needs_a_sender())
    order = (owner.c.couriers, owner.c.served_at.asc().nulls_first(), Webhook.served_at.asc().nulls_first(), Webhook.id)
    return _claimed(session, due.where(owner.c.couriers < most_of_one).order_by(*order).limit(1))


def settle(session: Session, batch: Batch, message: Message, answer: Answer, settings: Settings) -> bool:
    """Store the result of an attempt; returns whether the sender may continue with its next message."""
    webhook = session.execute(_held(batch)).scalar_one_or_none()
    if webhook is None:  # removed, or claimed by another sender
        return False
    delivery = session.get(Delivery, message.delivery_id)
    if delivery is None:  # tidied away
        return True
    delivery.attempts += 1
    delivery.attempted_at = _now
    delivery.status, delivery.response = answer.status, answer.response
    delivery.error = answer.error and answer.error[:MOST_TOLD]
    webhook.courier_until = _now + LEASE
    if answer.error is None:
        delivery.state, delivery.delivered_at = DeliveryState.DELIVERED, _now
        webhook.failures = 0
        return webhook.active
    _put_off(session, delivery, webhook, answer, settings)
    return False


def finish(session: Session, batch: Batch) -> None:
    """End the claim."""
    session.execute(
        update(Webhook)
        .where(Webhook.id == batch.webhook_id, Webhook.courier == batch.courier)
        .values(courier=None, courier_until=None)
    )


def tidy(session: Session, keep: timedelta) -> None:
    """Delete deliveries older than this, some at a time."""
    old = select(Delivery.id).where(Delivery.created_at < _now - keep).order_by(Delivery.created_at).limit(1000)
    session.execute(delete(Delivery).where(Delivery.id.in_(old.scalar_subquery())))


def _claimed(session: Session, wanted: Select[Webhook]) -> Batch | None:
    locked = wanted.with_for_update(of=Webhook, key_share=True, skip_locked=True)
    webhook = session.execute(locked).scalar_one_or_none()
    if webhook is None:
        return None
    courier = uuid.uuid4()
    webhook.courier, webhook.courier_until, webhook.served_at = courier, _now + LEASE, _now
    found = []
    for delivery, event, job in session.execute(_due_of(webhook.id)):
        try:
            body = messages.body(delivery, event, job)
        except Exception as error:  # it would fail each time, and keep every message after it from being sent
            row_failures.note("webhook messages", f"delivery {delivery.id}", error)
            delivery.state, delivery.error = DeliveryState.FAILED, f"it could not be written: {error}"[:MOST_TOLD]
        else:
            found.append(Message(delivery.id, messages.message_id(delivery), body))
    return Batch(webhook.id, courier, webhook.url, webhook.secret, found)


def _put_off(session: Session, delivery: Delivery, webhook: Webhook, answer: Answer, settings: Settings) -> None:
    wait = _backoff(delivery.attempts, settings.webhook_retry, longest=LONGEST_WAIT)
    now = session.execute(select(_now)).scalar_one()
    gives_up = now + wait > delivery.asked_at + settings.webhook_patience
    if gives_up or answer.status == _GONE:
        delivery.state = DeliveryState.FAILED
    else:
        delivery.next_attempt_at = now + wait
    webhook.failures = min(webhook.failures + 1, 2**31 - 1)
    webhook.rests_until = now + _backoff(webhook.failures, settings.webhook_retry, longest=LONGEST_REST)
    if answer.status == _GONE:
        webhook.active, webhook.disabled_because = False, "its receiver answered 410 Gone"
    elif webhook.failures >= settings.webhook_failures:
        webhook.active = False
        webhook.disabled_because = f"{webhook.failures} attempts in a row failed; the last: {delivery.error}"


def _backoff(failures: int, first: timedelta, *, longest: timedelta) -> timedelta:
    """Twice as long after each failure, with jitter, so that not all come at the same time."""
    doubled: int = 2 ** min(failures - 1, 20)
    return min(first * doubled, longest) * _random.uniform(0.8, 1.2)


def _needs_a_sender() -> ColumnElement[bool]:
    is_free = Webhook.courier_until.is_(None) | (Webhook.courier_until <= _now)
    has_mail = select(Delivery.id).where(Delivery.webhook_id == Webhook.id, _is_due()).exists()
    return Webhook.active & (Webhook.rests_until <= _now) & is_free & has_mail


def _is_due() -> ColumnElement[bool]:
    return _IS_PENDING & (Delivery.next_attempt_at <= _now)


def _due_of(webhook_id: int) -> Select[Delivery, EventRow | None, Job | None]:
    """The oldest first; those that failed come last, so that a message that is never accepted delays no other."""
    due = select(Delivery, EventRow, Job).options(joinedload(Job.owner))
    joined = due.outerjoin(EventRow, EventRow.id == Delivery.event_id).outerjoin(Job, Job.id == EventRow.job_id)
    return (
        joined.where(Delivery.webhook_id == webhook_id, _is_due())
        .order_by(Delivery.attempts > 0, Delivery.id)
        .limit(_AT_ONCE)
    )


def _held(batch: Batch) -> Select[Webhook]:
    mine = select(Webhook).where(Webhook.id == batch.webhook_id, Webhook.courier == batch.courier)
    return mine.with_for_update(key_share=True)
