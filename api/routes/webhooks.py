"""Webhooks: which addresses are called about your jobs, and with which result."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import orm

from api.dependencies.auth import Member, Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import EXACT, Flag
from hsu_jobs import database, doorbell
from hsu_jobs.cluster import quota
from hsu_jobs.errors import BadRequest, Forbidden, NotFound, QuotaExceeded, SpecRejected, Unauthorized, WebhookInactive
from hsu_jobs.events import Event, StrangeEvent
from hsu_jobs.outcomes import Failure
from hsu_jobs.settings import settings
from hsu_jobs.states import State
from hsu_jobs.tables import Delivery, DeliveryState, Webhook
from hsu_jobs.webhooks import messages, subscriptions
from hsu_jobs.webhooks.addresses import LONGEST_URL
from hsu_jobs.webhooks.subscriptions import ENDINGS, Subscribed

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
outgoing = APIRouter()
"""The messages that receivers get: only for the OpenAPI document."""

Url = Annotated[str, Field(max_length=LONGEST_URL, examples=["https://lab.example/hooks/hsu"])]
Events = Annotated[list[Subscribed], Field(min_length=1, max_length=64)]
Number = Annotated[int, Path(ge=1, le=EXACT)]

_ALWAYS = (BadRequest, Unauthorized, NotFound)
_CHANGING = (*_ALWAYS, Forbidden)


class NewWebhook(BaseModel):
    """Which address to call, and about what."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"url": "https://lab.example/hooks/hsu", "events": ["succeeded", "failed"]}]},
    )

    url: Url
    """http or https, to a public address unless the service allows others (`HSU_WEBHOOK_ALLOW`)."""
    events: Events = list(ENDINGS)
    """Kinds of events, or states that an event brings (`succeeded`, `failed`, `cancelled`, `paused`)."""


class WebhookChange(BaseModel):
    """What is to be changed; omitted fields stay."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"active": False}]}
    )

    url: Url | None = None
    events: Events | None = None
    active: Flag | None = None
    """False: nothing is sent, and events of this time are not sent later. True also resets the failures."""


class WebhookView(View):
    """An address that is called about your jobs."""

    id: int
    url: str
    events: list[str]
    active: bool
    disabled_because: str | None
    """Why the service made it inactive: its receiver is gone, or failed too often in a row."""
    failures: int
    """Attempts in a row that failed."""
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(webhook, name) for name in cls.model_fields})


class NewlySigned(WebhookView):
    """A webhook with its secret, which is shown only once."""

    secret: str
    """Messages are signed with it, as Standard Webhooks specifies."""


class WebhooksView(View):
    """Your webhooks, the oldest first."""

    webhooks: list[WebhookView]


class DeliveryView(View):
    """A message, and the state of its delivery."""

    id: int
    message: str
    """Its `webhook-id`, the same at every attempt."""
    kind: str
    """The kind of the event, or `ping`."""
    job: int | None
    event: int | None
    """The event's id."""
    state: DeliveryState | str
    attempts: int
    """Attempts since it was made, or was last requested again."""
    created_at: datetime
    next_attempt_at: datetime | None
    """The earliest time of the next attempt; null unless it is pending."""
    attempted_at: datetime | None
    delivered_at: datetime | None
    status: int | None
    """The status of the last answer; null if there was none."""
    error: str | None
    """What was wrong at the last attempt."""
    response: str | None
    """The beginning of the last answer's body."""

    @classmethod
    def of(cls, delivery: Delivery, job: int | None = None, kind: str | None = None) -> Self:
        """The view of a row and of its event."""
        fields = {"message", "kind", "job", "event", "next_attempt_at"}
        is_pending = delivery.state is DeliveryState.PENDING
        return cls(
            **{name: getattr(delivery, name) for name in set(cls.model_fields) - fields},
            message=messages.message_id(delivery),
            kind=kind or messages.PING["kind"],
            job=job,
            event=delivery.event_id,
            next_attempt_at=delivery.next_attempt_at if is_pending else None,
        )


class DeliveryPage(View):
    """A page of messages, the newest first."""

    webhook: int
    deliveries: list[DeliveryView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


class JobInBrief(View):
    """The job, as it is when the message is sent."""

    id: int
    name: str
    tags: list[str]
    owner: str
    state: State | str
    fingerprint: str
    failure: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Ping(View):
    """Not an event: the owner tests the webhook."""

    kind: Literal["ping"] = "ping"


class Message(View):
    """A message to a webhook."""

    id: str
    """The `webhook-id`: the same if the message is sent again."""
    kind: str
    """The kind of the event, or `ping`."""
    at: datetime
    """When it happened."""
    job: JobInBrief | None
    """Null for a ping."""
    event: Event | Ping | StrangeEvent


def _mine(webhook_id: Number, key: Viewer, session: Session) -> Webhook:
    return subscriptions.found(session, key.user_id, webhook_id)


def _mine_to_change(webhook_id: Number, key: Member, session: Session) -> Webhook:
    return subscriptions.found(session, key.user_id, webhook_id, to_change=True)


OwnedWebhook = Annotated[Webhook, Depends(_mine, scope="function")]
"""A webhook of the caller: even an admin sees only their own, since its address may hold a secret."""
ChangingWebhook = Annotated[Webhook, Depends(_mine_to_change, scope="function")]
"""A webhook of the caller that is to be changed, locked."""


@router.post("", status_code=201, responses=problems(BadRequest, Unauthorized, Forbidden, SpecRejected))
def create_webhook(new: NewWebhook, key: Member, session: Session, response: Response) -> NewlySigned:
    """Call this address about your jobs from now on. The answer holds the secret, which cannot be read again.

    Each message is a POST of JSON: `id`, `kind`, `at`, the `event` as `/v1/jobs/{id}/events` shows it, and its `job`
    in brief as it is at that time. It is signed as [Standard Webhooks](https://www.standardwebhooks.com) specifies:
    `webhook-signature` is `v1,` and the base64 HMAC-SHA256 over `webhook-id.webhook-timestamp.body`. Any 2xx within ten
    seconds accepts it; anything else is tried again for a day, and 410 ends the webhook. A message may come twice, with
    the same `webhook-id`, and out of order.
    """
    webhook = subscriptions.create(session, key.user, url=new.url, events=new.events, settings=settings())
    response.headers["Location"] = f"{router.prefix}/{webhook.id}"
    return NewlySigned.of(webhook)


@router.get("", responses=problems(Unauthorized))
def list_webhooks(key: Viewer, session: Session) -> WebhooksView:
    """Your webhooks."""
    return WebhooksView(
        webhooks=shown(
            "list of webhooks", session.execute(subscriptions.owned_by(key.user_id)).scalars(), WebhookView.of
        )
    )


@router.get("/{webhook_id}", responses=problems(*_ALWAYS))
def show_webhook(webhook: OwnedWebhook) -> WebhookView:
    """One of your webhooks."""
    return WebhookView.of(webhook)


@router.patch("/{webhook_id}", responses=problems(*_CHANGING, SpecRejected))
def change_webhook(change: WebhookChange, webhook: ChangingWebhook, session: Session) -> WebhookView:
    """Change its address, its events, or whether it is active."""
    return WebhookView.of(subscriptions.change(session, webhook, **change.model_dump(), settings=settings()))


@router.delete("/{webhook_id}", status_code=204, responses=problems(*_CHANGING))
def remove_webhook(webhook: ChangingWebhook, session: Session) -> None:
    """Remove a webhook and its messages; a message that is being sent may still arrive."""
    session.delete(webhook)


@router.post("/{webhook_id}/rotate", responses=problems(*_CHANGING))
def rotate_secret(webhook: ChangingWebhook) -> NewlySigned:
    """Give it a new secret, which cannot be read again; from now on messages are signed only with it."""
    return NewlySigned.of(subscriptions.rotate(webhook))


@router.post("/{webhook_id}/test", status_code=202, responses=problems(*_CHANGING, WebhookInactive, QuotaExceeded))
def test_webhook(webhook: ChangingWebhook, session: Session) -> DeliveryView:
    """Send a `ping`; its delivery soon shows the result."""
    quota.require_room_for_messages(session, webhook.owner_id, settings())
    delivery = subscriptions.ping(session, webhook)
    _ring_for(session, webhook)
    return DeliveryView.of(delivery)


@router.get("/{webhook_id}/deliveries", responses=problems(*_ALWAYS))
def list_deliveries(
    webhook: OwnedWebhook,
    session: Session,
    state: DeliveryState | None = None,
    cursor: Annotated[int | None, Query(ge=1, le=EXACT, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """The messages that were sent or are to be sent, the newest first; kept for `HSU_WEBHOOK_LOG`."""
    chosen = subscriptions.deliveries_of(webhook.id)
    chosen = chosen if state is None else chosen.where(Delivery.state == state)
    chosen = chosen if cursor is None else chosen.where(Delivery.id < cursor)
    rows = session.execute(chosen.limit(limit + 1)).all()
    page = shown("list of deliveries", rows[:limit], lambda row: DeliveryView.of(*row))
    next_cursor = str(rows[limit - 1][0].id) if len(rows) > limit else None
    return DeliveryPage(webhook=webhook.id, deliveries=page, next_cursor=next_cursor)


@router.get("/{webhook_id}/deliveries/{delivery_id}", responses=problems(*_ALWAYS))
def show_delivery(webhook: OwnedWebhook, delivery_id: Number, session: Session) -> DeliveryView:
    """One message, and the state of its delivery."""
    return DeliveryView.of(*_delivery(session, webhook, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses=problems(*_CHANGING, WebhookInactive, QuotaExceeded),
)
def redeliver(webhook: ChangingWebhook, delivery_id: Number, session: Session) -> DeliveryView:
    """Send a message again, whatever the state of its delivery, with the same `webhook-id`."""
    delivery, *fields = _delivery(session, webhook, delivery_id)
    quota.require_room_for_messages(session, webhook.owner_id, settings())
    subscriptions.redeliver(session, webhook, delivery)
    _ring_for(session, webhook)
    return DeliveryView.of(delivery, *fields)


@outgoing.post("message", status_code=204)
def receive_message(
    _message: Message,
    _id: Annotated[str, Header(alias="webhook-id")],
    _timestamp: Annotated[int, Header(alias="webhook-timestamp", description="Seconds since the epoch.")],
    _signature: Annotated[
        str, Header(alias="webhook-signature", description="`v1,` and base64 HMAC-SHA256 over `id.timestamp.body`.")
    ],
) -> None:
    """Sent to each webhook that asks for it. Any 2xx within ten seconds accepts it; 410 ends the webhook."""


def _delivery(session: orm.Session, webhook: Webhook, delivery_id: int) -> tuple[Delivery, Any, Any]:
    chosen = subscriptions.deliveries_of(webhook.id).where(Delivery.id == delivery_id)
    row = session.execute(chosen).one_or_none()
    if row is None:
        raise NotFound(f"webhook {webhook.id} has no delivery {delivery_id}")
    return row


def _ring_for(session: orm.Session, webhook: Webhook) -> None:
    webhook_id = webhook.id
    database.after_commit(session, lambda: doorbell.ring_for_webhook(webhook_id))
