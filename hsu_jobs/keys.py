"""Who holds a key? Keys are shown once and kept as digests.

A key is `hsu_<prefix>_<secret>`: the secret has 256 random bits, so a plain SHA-256 keeps it safe.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.errors import Unauthorized
from hsu_jobs.tables import ApiKey, Role, User


def create(session: Session, *, user: str, role: Role, expires_at: datetime | None = None) -> str:
    """Make a key for a user, who is made too if new; returns the key, which cannot be read again."""
    session.execute(insert(User).values(name=user).on_conflict_do_nothing())
    owner = session.execute(queries.user_by_name(user)).scalar_one()
    prefix = secrets.token_hex(4)
    key = f"hsu_{prefix}_{secrets.token_urlsafe(32)}"
    session.add(ApiKey(user_id=owner.id, prefix=prefix, digest=_digest(key), role=role, expires_at=expires_at))
    return key


def holder(session: Session, key: str) -> ApiKey:
    """Whose key this is. Raises `Unauthorized` if it is unknown, expired or revoked."""
    found = session.execute(queries.key_by_digest(_digest(key))).scalar_one_or_none()
    if found is None:
        raise Unauthorized("the API key is unknown, expired or revoked")
    return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
