"""What is sent to a webhook, and how does the receiver verify that we sent it?

Knows rows and which of their fields are sent. Signed as Standard Webhooks specifies (https://www.standardwebhooks.com):
HMAC-SHA256 over `id.timestamp.body`, with the secret's own bytes as the key. So any library for it can verify us.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

from hsu_jobs.events import kind_of
from hsu_jobs.tables import Delivery, EventRow, Job

_SECRET = "whsec_"  # noqa: S105 - the standard's mark of one, not one
PING = {"kind": "ping"}
"""The event in a message that only tests a webhook."""


def new_secret() -> str:
    """A secret of 256 random bits."""
    return _SECRET + base64.b64encode(secrets.token_bytes(32)).decode()


def message_id(delivery: Delivery) -> str:
    """The message's id, the same at every attempt to deliver it."""
    return f"msg_{delivery.message.hex}"


def body(delivery: Delivery, event: EventRow | None, job: Job | None) -> bytes:
    """What is sent: the event as it happened, and its job as it is now."""
    happened = event.event if event else PING
    content = {
        "id": message_id(delivery),
        "kind": kind_of(happened),
        "at": (event.at if event else delivery.created_at).isoformat(),
        "job": _summary(job) if job else None,
        "event": happened,
    }
    return json.dumps(content, allow_nan=False).encode()


def headers(secret: str, id: str, timestamp: int, body: bytes) -> dict[str, str]:  # noqa: A002 - the standard's name
    """The headers that identify and verify a message."""
    return {
        "content-type": "application/json",
        "user-agent": "HSU-Webhooks",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{_signature(secret, id, timestamp, body)}",
    }


def _signature(secret: str, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002
    key = base64.b64decode(secret.removeprefix(_SECRET))
    signed = f"{id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _summary(job: Job) -> dict[str, Any]:
    """Which job it is and how it stands; a GET shows the rest."""
    times = ("created_at", "started_at", "finished_at")
    return {
        "id": job.id,
        "name": job.name,
        "tags": job.tags,
        "owner": job.owner.name,
        "state": str(job.state),
        "fingerprint": job.fingerprint,
        "failure": job.failure,
        **{name: at.isoformat() if (at := getattr(job, name)) else None for name in times},
    }
