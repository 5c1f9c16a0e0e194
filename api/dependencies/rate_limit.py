"""How many requests may a key make? Each key has a bucket, and each address one for requests without a valid key.

Every answer says how much is left (draft-ietf-httpapi-ratelimit-headers). The buckets are
`hsu_jobs.access.rate_limits`.
"""

from __future__ import annotations

import math

from starlette.concurrency import run_in_threadpool

from api.middleware.request_state import RequestState
from hsu_jobs.access import rate_limits
from hsu_jobs.access.rate_limits import Allowance, Bucket
from hsu_jobs.errors import TooManyRequests
from hsu_jobs.settings import settings
from hsu_jobs.tables import ApiKey


async def count_request(own: RequestState, key: ApiKey) -> None:
    """Count a request of a key. Raises `TooManyRequests`."""
    if not settings().rate_limit:
        return
    bucket = Bucket(settings().rate_limit, settings().rate_burst)
    allowance = await run_in_threadpool(rate_limits.take, f"key:{key.id}", bucket)
    if allowance is None:
        return
    own.headers += _headers("key", bucket, allowance)
    if not allowance.is_allowed:
        raise _too_many(f"this key may make {bucket.rate:g} requests a second, and {bucket.size} at once", allowance)


async def count_failure(own: RequestState) -> None:
    """Count a request without a valid key. Raises `TooManyRequests`."""
    if not (most := settings().failures_a_minute):
        return
    bucket = Bucket(most / 60, most)
    allowance = await run_in_threadpool(rate_limits.take, f"failures:{own.address}", bucket)
    if allowance is not None and not allowance.is_allowed:
        own.headers += _headers("failures", bucket, allowance)
        raise _too_many(f"from one address {most} requests a minute may come without a valid key", allowance)


def _too_many(detail: str, allowance: Allowance) -> TooManyRequests:
    return TooManyRequests(f"{detail}: wait {allowance.wait:.3g} s", seconds=allowance.wait)


def _headers(name: str, bucket: Bucket, allowance: Allowance) -> list[tuple[bytes, bytes]]:
    policy = f'"{name}";q={bucket.size};w={math.ceil(bucket.window)}'
    now = f'"{name}";r={allowance.left};t={math.ceil(allowance.full)}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]
