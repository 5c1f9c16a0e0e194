"""How often may somebody ask? Each key has a bucket, and each address one for requests without a valid key.

Says on every answer how much is left (draft-ietf-httpapi-ratelimit-headers). The buckets are
`hsu_jobs.access.rate_limits`.
"""

from __future__ import annotations

import math

from starlette.concurrency import run_in_threadpool

from api.middleware.request_state import Exchange
from hsu_jobs.access import rate_limits
from hsu_jobs.access.rate_limits import Bucket, Taken
from hsu_jobs.errors import TooManyRequests
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey


async def of_key(own: Exchange, key: ApiKey) -> None:
    """Count a request of a key. Raises `TooManyRequests`."""
    if not settings().rate_limit:
        return
    bucket = Bucket(settings().rate_limit, settings().rate_burst)
    taken = await run_in_threadpool(rate_limits.take, f"key:{key.id}", bucket)
    if taken is None:
        return
    own.headers += _headers("key", bucket, taken)
    if not taken.is_allowed:
        raise _too_many(f"this key may make {bucket.rate:g} requests a second, and {bucket.size} at once", taken)


async def of_failure(own: Exchange) -> None:
    """Count a request without a valid key. Raises `TooManyRequests`."""
    if not (most := settings().failures_a_minute):
        return
    bucket = Bucket(most / 60, most)
    taken = await run_in_threadpool(rate_limits.take, f"failures:{own.address}", bucket)
    if taken is not None and not taken.is_allowed:
        own.headers += _headers("failures", bucket, taken)
        raise _too_many(f"from one address {most} requests a minute may come without a valid key", taken)


def _too_many(detail: str, taken: Taken) -> TooManyRequests:
    return TooManyRequests(f"{detail}: wait {taken.wait:.3g} s", seconds=taken.wait)


def _headers(name: str, bucket: Bucket, taken: Taken) -> list[tuple[bytes, bytes]]:
    policy = f'"{name}";q={bucket.size};w={math.ceil(bucket.window)}'
    now = f'"{name}";r={taken.left};t={math.ceil(taken.full)}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]
