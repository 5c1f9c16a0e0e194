"""Whose key is this? Asked at every request, so what the database said is remembered for a moment.

What is remembered belongs to no session and is only read: threads share it. A key that is revoked or changed through
this process is forgotten at once; through another one it opens for `HSU_KEY_CACHE` more.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hsu_jobs import database, keys, queries
from hsu_jobs.availability import AWAY
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey

_MOST = 10_000
_log = logging.getLogger(__name__)


class _Known(NamedTuple):
    key: ApiKey
    until: float


_known: dict[bytes, _Known] = {}


def remembered(key: str) -> ApiKey | None:
    """The row of a key that was looked up a moment ago, if it is still valid."""
    known = _known.get(keys.digest(key))
    if known is None or time.monotonic() >= known.until or not keys.is_valid(known.key):
        return None
    return known.key


def look_up(key: str) -> ApiKey | None:
    """The row of a key, valid or not: one query, and once a minute a second one that notes its use."""
    asked = time.monotonic()
    with database.transaction() as session:
        found = keys.find(session, key)
        if found is None or not keys.is_valid(found):
            return found
    if found.last_used_at is None or datetime.now(UTC) - found.last_used_at > timedelta(minutes=1):
        _note_use(found)
    _remember(found, until=asked + settings().key_cache.total_seconds())
    return found


def forget() -> None:
    """Ask the database again, for every key."""
    _known.clear()


def _note_use(key: ApiKey) -> None:
    """A note in a transaction of its own: whoever only reads is not refused because the database takes no writes."""
    try:
        with database.transaction() as session:
            session.execute(queries.note_use(key.id))
    except AWAY as error:
        _log.warning("the use of a key is not noted: %s", error)


def _remember(key: ApiKey, *, until: float) -> None:
    if len(_known) >= _MOST:
        _known.clear()
    _known[key.digest] = _Known(key, until)
