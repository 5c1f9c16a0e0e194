"""What may the owner of a webhook request? Make, change and remove it, rotate its secret, test it, send again.

Knows rows and which addresses may be called. The delivery of messages is in `deliveries`. Every call runs inside the
caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from sqlalchemy import Delete, Select, delete, func, select
from sqlalchemy.orm import Session, aliased

from hsu_jobs import queries
from hsu_jobs.errors import Fault, NotFound, SpecRejected, WebhookInactive
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Delivery, DeliveryState, EventRow, User, Webhook
from hsu_jobs.webhooks import addresses, messages
from hsu_jobs.webhooks.addresses import Refused, Unresolved

Subscribed = Literal[
    "submitted",
    "started",
    "skipped",
    "restored",
    "saved",
    "damaged",
    "missing",
    "asked",
    "paused",
    "cancelled",
    "resumed",
    "prioritised",
    "stopping",
    "expired",
    "ended",
    "succeeded",
    "failed",
    "lost",
]
"""What a webhook may ask for: a kind of event, or a state that an event brings."""
ENDINGS: tuple[Subscribed, ...] = ("succeeded", "failed", "cancelled")
"""What a webhook asks for by default."""
MOST = 20
"""Webhooks of one owner: each of their events is stored for every webhook that asks for it."""
PINGS_KEPT = 100
"""Pings of one webhook whose deliveries are kept."""
_RESOLVED_WITHIN = timedelta(seconds=3)


def create(session: Session, owner: User, *, url: str, events: Sequence[Subscribed], settings: Settings) -> Webhook:
    """Call this address about an owner's jobs from now on. Raises `SpecRejected` if it may not be called."""
    check(url, settings)
    session.execute(queries.hold(f"webhooks {owner.id}"))
    if session.execute(select(func.count()).where(Webhook.owner_id == owner.id)).scalar_one() >= MOST:
        raise _rejected("", "too_many_webhooks", f"there are {MOST} already, the most that one may have; remove one")
    webhook = Webhook(owner_id=owner.id, url=url, secret=messages.new_secret(), events=list(dict.fromkeys(events)))
    session.add(webhook)
    session.flush()
    session.refresh(webhook)
    return webhook


def change(
    session: Session,
    webhook: Webhook,
    *,
    url: str | None = None,
    events: Sequence[Subscribed] | None = None,
    active: bool | None = None,
    settings: Settings,
) -> Webhook:
    """Change what is given; making it active again resets its failures. Raises `SpecRejected`."""
    if url is not None:
        check(url, settings)
        webhook.url = url
    if events is not None:
        webhook.events = list(dict.fromkeys(events))
    if active is not None:
        webhook.active = active
    if active:
        webhook.failures, webhook.disabled_because, webhook.rests_until = 0, None, func.now()
    session.flush()
    session.refresh(webhook)
    return webhook


def rotate(webhook: Webhook) -> Webhook:
    """Sign with a new secret from the next message on."""
    webhook.secret = messages.new_secret()
    return webhook


def ping(session: Session, webhook: Webhook) -> Delivery:
    """Add a message without an event, to test whether it arrives. Raises `WebhookInactive`."""
    _is_to_be_active(webhook)
    webhook.rests_until = func.now()
    delivery = Delivery(webhook_id=webhook.id)
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    session.execute(_forget_old_pings(webhook.id))
    return delivery


def redeliver(session: Session, webhook: Webhook, delivery: Delivery) -> Delivery:
    """Send a message again, as if for the first time, whatever the state of its delivery. Raises `WebhookInactive`."""
    _is_to_be_active(webhook)
    webhook.rests_until = delivery.asked_at = delivery.next_attempt_at = func.now()
    delivery.state, delivery.attempts = DeliveryState.PENDING, 0
    session.flush()
    session.refresh(delivery)
    return delivery


def check(url: str, settings: Settings) -> None:
    """Raise `SpecRejected` unless the URL may be called; checked again at each delivery."""
    try:
        place = addresses.parse(url)
        addresses.reachable(place.host, place.port, allow=settings.webhook_allow, patience=_RESOLVED_WITHIN)
    except (Refused, Unresolved) as error:
        raise _rejected("/url", "url_refused", str(error)) from error


def owned_by(owner_id: int) -> Select[Webhook]:
    """An owner's webhooks, the oldest first."""
    return select(Webhook).where(Webhook.owner_id == owner_id).order_by(Webhook.id)


def found(session: Session, owner_id: int, webhook_id: int, *, to_change: bool = False) -> Webhook:
    """One of an owner's webhooks, locked if it is to be changed. Raises `NotFound`."""
    mine = owned_by(owner_id).where(Webhook.id == webhook_id)
    webhook = session.execute(mine.with_for_update(key_share=True) if to_change else mine).scalar_one_or_none()
    if webhook is None:
        raise NotFound(f"there is no webhook {webhook_id}, or it is not yours")
    return webhook


def deliveries_of(webhook_id: int) -> Select[Delivery, int | None, str | None]:
    """A webhook's messages, the newest first, each with its job and the kind of its event."""
    event = aliased(EventRow)
    chosen = select(Delivery, event.job_id, event.event["kind"].astext)
    joined = chosen.outerjoin(event, event.id == Delivery.event_id)
    return joined.where(Delivery.webhook_id == webhook_id).order_by(Delivery.id.desc())


def _forget_old_pings(webhook_id: int) -> Delete:
    """Delete all pings but the newest and those that are pending: a user may request any number."""
    pings = select(Delivery.id).where(Delivery.webhook_id == webhook_id, Delivery.event_id.is_(None))
    old = pings.order_by(Delivery.id.desc()).offset(PINGS_KEPT).scalar_subquery()
    return delete(Delivery).where(Delivery.id.in_(old), Delivery.state != DeliveryState.PENDING)


def _is_to_be_active(webhook: Webhook) -> None:
    if not webhook.active:
        why = f" ({webhook.disabled_because})" if webhook.disabled_because else ""
        raise WebhookInactive(f"webhook {webhook.id} is not active{why}: nothing is sent; make it active first")


def _rejected(pointer: str, code: str, detail: str) -> SpecRejected:
    fault = Fault(pointer=pointer, code=code, detail=detail)
    return SpecRejected(f"{pointer or 'the webhook'}: {detail}", faults=(fault,))
