"""How often may a client ask? Token buckets in Redis, so that all processes count together.

Knows Redis. Knows nothing of keys or HTTP: a bucket has a name, a rate and a size. Redis may be away at any time: then
every request passes, and only one now and then waits for Redis, for a short time.
"""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import RedisError
from redis.retry import Retry

from hsu_jobs.settings import settings

_log = logging.getLogger(__name__)

_TAKE = """
-- The bucket is kept as the moment at which it will be full again, in microseconds; no key means full.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local each, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local missing = (full - now) / each
if missing + 1 > size then
  return {0, 0, math.ceil((missing + 1 - size) * each), full - now}
end
full = math.ceil(full + each)
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, math.floor(size - (full - now) / each), 0, full - now}
"""
_PATIENCE = 0.1
"""Seconds to wait for an answer: on one machine or in one rack Redis takes a thousandth of that."""
_REST = 2.0
"""Seconds for which a Redis that did not answer is not asked again."""
_away_until = 0.0


class Bucket(NamedTuple):
    """So many requests a second in the long run, and so many at once after a rest."""

    rate: float
    size: int

    @property
    def window(self) -> float:
        """Seconds in which an empty bucket is full again."""
        return self.size / self.rate


class Allowance(NamedTuple):
    """The result of taking one."""

    is_allowed: bool
    left: int
    wait: float
    """Seconds until the next one may be taken."""
    full: float
    """Seconds until the bucket is full again."""


def take(name: str, bucket: Bucket) -> Allowance | None:
    """Take one out of a bucket; None if Redis is away."""
    global _away_until
    if time.monotonic() < _away_until:
        return None
    try:
        allowed, left, wait, full = _script()(keys=[f"hsu:rate:{name}"], args=[1e6 / bucket.rate, bucket.size])
    except RedisError as error:
        _away_until = time.monotonic() + _REST
        _log.warning("Redis does not answer (%s): requests are not counted for %g s", error, _REST)
        return None
    return Allowance(bool(allowed), int(left), wait / 1e6, full / 1e6)


def close() -> None:
    """Close the connections, and forget that Redis was away."""
    global _away_until
    _away_until = 0.0
    if _redis.cache_info().currsize:
        _redis().close()
    for cached in (_script, _redis):
        cached.cache_clear()


@cache
def _script() -> Script:
    return _redis().register_script(_TAKE)


@cache
def _redis() -> Redis:
    return Redis.from_url(
        settings().redis_url.get_secret_value(),
        socket_connect_timeout=_PATIENCE,
        socket_timeout=_PATIENCE,
        retry=Retry(NoBackoff(), 0),
    )
