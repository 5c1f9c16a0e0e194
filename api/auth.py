"""Who asks, and what may they do? An API key in the Authorization header, checked against its digest."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.deps import Session
from hsu_jobs import keys
from hsu_jobs.errors import Forbidden, Unauthorized
from hsu_jobs.tables import ApiKey, Role

_bearer = HTTPBearer(auto_error=False, description="An API key: `hsu_<prefix>_<secret>`.")


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def holder(session: Session, credentials: Credentials) -> ApiKey:
    """The key of whoever asks. Raises `Unauthorized`."""
    if credentials is None:
        raise Unauthorized("send your API key as `Authorization: Bearer <key>`")
    return keys.holder(session, credentials.credentials)


Viewer = Annotated[ApiKey, Depends(holder, scope="function")]
"""Any valid key."""


async def member(key: Viewer) -> ApiKey:
    """A key that may submit jobs and ask something of them. Raises `Forbidden`."""
    if key.role is Role.VIEWER:
        raise Forbidden("a viewer's key only reads; changing anything needs a member's or an admin's")
    return key


Member = Annotated[ApiKey, Depends(member, scope="function")]
"""A key that may change something."""


async def admin(key: Viewer) -> ApiKey:
    """A key that may change what is everyone's. Raises `Forbidden`."""
    if key.role is not Role.ADMIN:
        raise Forbidden(f"this needs an admin's key, found a {key.role}'s")
    return key


Admin = Annotated[ApiKey, Depends(admin, scope="function")]
"""A key that may change workers and users."""
