"""A sender of messages to webhooks, as a worker's threads are: it claims what is next, and sends it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from hsu_jobs import database
from hsu_jobs.settings import Settings
from hsu_jobs.webhooks import deliveries
from hsu_jobs.webhooks.deliveries import Batch
from worker import webhook_sender


def claim(session: Session, webhook_id: int) -> Batch | None:
    """The batch of this webhook, where no other has messages to send; None if nothing is due."""
    batch = deliveries.claim_next(session, most_of_one=100)
    assert batch is None or batch.webhook_id == webhook_id
    return batch


def send(webhook_id: int, settings: Settings) -> None:
    """Send this webhook a batch of what is due."""
    with database.transaction() as session:
        batch = claim(session, webhook_id)
    if batch is not None:
        webhook_sender.deliver(batch, settings)
