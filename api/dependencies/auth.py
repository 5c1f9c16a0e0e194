"""Who is the caller, and what may they do? An API key in the Authorization header, checked against its digest.

A request that only reads gets a shared row, which belongs to no session. A request that changes something gets its own.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from api.dependencies import key_cache, rate_limit
from api.dependencies.session import Session
from api.middleware import request_state
from hsu_jobs.access import keys
from hsu_jobs.errors import Forbidden, Unauthorized
from hsu_jobs.tables import ApiKey, Role

_bearer = HTTPBearer(auto_error=False, description="An API key: `hsu_<prefix>_<secret>`.")


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def holder(request: Request, credentials: Credentials) -> ApiKey:
    """The caller's key. Raises `Unauthorized` or `TooManyRequests`."""
    own = request_state.current(request.scope)
    if credentials is None:
        await rate_limit.count_failure(own)
        raise Unauthorized("send your API key as `Authorization: Bearer <key>`")
    secret = credentials.credentials
    found = key_cache.cached(secret) or await run_in_threadpool(key_cache.look_up, secret)
    own.identify(found.row if found else None, is_valid=found is not None and found.opens)
    if own.key is None or own.is_refused:
        await rate_limit.count_failure(own)
        raise keys.unknown()
    await rate_limit.count_request(own, own.key)
    if not isinstance(own.key.role, Role):
        raise Unauthorized(f"only a newer version of the service knows what a key of the role {own.key.role} may do")
    return own.key


Viewer = Annotated[ApiKey, Depends(holder, scope="function")]
"""Any valid key."""


async def member(key: Viewer, session: Session) -> ApiKey:
    """A key that may submit jobs and act on them. Raises `Forbidden`."""
    if key.role is Role.VIEWER:
        raise Forbidden("a viewer's key only reads; changing anything needs a member's or an admin's")
    return session.merge(key, load=False)


Member = Annotated[ApiKey, Depends(member, scope="function")]
"""A key that may change something."""


async def admin(key: Viewer, session: Session) -> ApiKey:
    """A key that may change what all users share. Raises `Forbidden`."""
    if key.role is not Role.ADMIN:
        raise Forbidden(f"this needs an admin's key, found a {key.role}'s")
    return session.merge(key, load=False)


Admin = Annotated[ApiKey, Depends(admin, scope="function")]
"""A key that may change workers and users."""
