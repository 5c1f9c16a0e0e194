"""Whose key is this? Every request asks, so the answer of the database is cached for a short time.

A cached row belongs to no session and is only read: threads share it. A key that is revoked or changed through this
process leaves the cache at once; through another process it stays valid for `HSU_KEY_CACHE` more. The database decides
when a key expires: it says how many seconds are left, whatever the host's clock shows.
"""

from __future__ import annotations

import logging
import math
import time
from typing import NamedTuple

from hsu_jobs import database, queries
from hsu_jobs.access import keys
from hsu_jobs.access.keys import Found
from hsu_jobs.database_outage import AWAY
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey

_MOST = 10_000
_log = logging.getLogger(__name__)


class _CachedKey(NamedTuple):
    key: ApiKey
    until: float


_cache: dict[bytes, _CachedKey] = {}


def cached(key: str) -> Found | None:
    """A valid key that is in the cache."""
    kept = _cache.get(keys.digest(key))
    return None if kept is None or time.monotonic() >= kept.until else Found(kept.key, opens=True)


def look_up(key: str) -> Found | None:
    """A key, valid or not: one query, and once a minute a second one that records its use."""
    asked = time.monotonic()
    with database.transaction() as session:
        found = keys.find(session, key)
        if found is None or not found.opens:
            return found
    if found.was_used_long_ago:
        _note_use(found.row)
    kept = min(settings().key_cache.total_seconds(), math.inf if found.seconds is None else found.seconds)
    _store(found.row, until=asked + kept)
    return found


def clear() -> None:
    """Empty the cache."""
    _cache.clear()


def _note_use(key: ApiKey) -> None:
    """Record the use in a transaction of its own: a reader is not refused because the database takes no writes."""
    try:
        with database.transaction() as session:
            session.execute(queries.note_use(key.id))
    except AWAY as error:
        _log.warning("the last use of a key was not recorded: %s", error)


def _store(key: ApiKey, *, until: float) -> None:
    if len(_cache) >= _MOST:
        _cache.clear()
    _cache[key.digest] = _CachedKey(key, until)
