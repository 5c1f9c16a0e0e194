"""Was a message really sent by the service? A check for programs that receive its webhooks.

    try:
        message = verify(body, headers, secret)
    except NotAuthentic:
        return 401
    if seen(message["id"]):  # a message may come twice
        return 204

Knows the scheme of Standard Webhooks (https://www.standardwebhooks.com): `webhook-signature` has one or more entries of
`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`. Knows nothing of HTTP servers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

TOLERANCE = timedelta(minutes=5)
"""The largest accepted difference between the sender's clock and ours: an old message that is replayed is refused."""


class NotAuthentic(Exception):
    """The message was not signed with this secret, or too long ago."""


def verify(
    payload: bytes,
    headers: Mapping[str, str],
    secret: str,
    *,
    tolerance: timedelta = TOLERANCE,
    now: float | None = None,
) -> dict[str, Any]:
    """The content of a message: `id`, `kind`, `at`, `job` and `event`. Raises `NotAuthentic`.

    `payload` is the request's body, byte for byte; `now` is in seconds since the epoch, by default the present time.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        id, timestamp, signatures = (given[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))  # noqa: A001
        age = (time.time() if now is None else now) - int(timestamp)
    except KeyError as missing:
        raise NotAuthentic(f"the header {missing.args[0]} is missing") from missing
    except ValueError as error:
        raise NotAuthentic("webhook-timestamp is not a number of seconds") from error
    if abs(age) > tolerance.total_seconds():
        raise NotAuthentic(f"it was signed {age:.0f} s ago, more than {tolerance.total_seconds():.0f} s")
    expected = _signature(secret, f"{id}.{timestamp}.".encode() + payload)
    if not any(hmac.compare_digest(expected, each.encode()) for each in signatures.split()):
        raise NotAuthentic("none of its signatures is one with this secret")
    told: dict[str, Any] = json.loads(payload)
    return told


def _signature(secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("that is not a webhook's secret: expected whsec_ and base64") from error
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
