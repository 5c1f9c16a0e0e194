"""Who holds a key? Keys are shown once and kept as digests.

A key is `hsu_<prefix>_<secret>`: the secret has 256 random bits, so a plain SHA-256 keeps it safe. It is found by its
digest, which takes a time that tells nothing of use: at most how a digest begins, and no key can be made for a digest.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.errors import Gone, Unauthorized
from hsu_jobs.tables import ApiKey, Role, User


class Issued(NamedTuple):
    """A new key, and the only time that it is seen."""

    row: ApiKey
    key: str


def create(session: Session, *, user: str, role: Role, expires_at: datetime | None = None) -> str:
    """Make a key for a user, who is made too if new; returns the key, which cannot be read again."""
    return issue(session, user=user, role=role, expires_at=expires_at).key


def issue(session: Session, *, user: str, role: Role, name: str = "", expires_at: datetime | None = None) -> Issued:
    """Make a key with a name for a user, who is made too if new."""
    session.execute(insert(User).values(name=user).on_conflict_do_nothing())
    owner = session.execute(queries.user_by_name(user)).scalar_one()
    prefix = secrets.token_hex(4)
    key = f"hsu_{prefix}_{secrets.token_urlsafe(32)}"
    row = ApiKey(user=owner, name=name, prefix=prefix, digest=digest(key), role=role, expires_at=expires_at)
    session.add(row)
    session.flush()
    return Issued(row, key)


def rotate(session: Session, key: ApiKey, *, overlap: timedelta) -> Issued:
    """A new key in a key's place, good for as long as that one was made for; the old one opens for `overlap` more.

    Raises `Gone` if it opens nothing any more.
    """
    if not is_valid(key):
        raise Gone(f"key {key.id} is revoked or expired: make a new one")
    lifetime = key.expires_at - key.created_at if key.expires_at else None
    expires_at = datetime.now(UTC) + lifetime if lifetime else None
    if overlap:
        end = datetime.now(UTC) + overlap
        key.expires_at = min(key.expires_at or end, end)
    else:
        revoke(key)
    return issue(session, user=key.user.name, role=key.role, name=key.name, expires_at=expires_at)


def revoke(key: ApiKey) -> None:
    """Let a key open nothing any more."""
    key.revoked_at = func.now()


def holder(session: Session, key: str) -> ApiKey:
    """Whose key this is. Raises `Unauthorized` if it is unknown, expired or revoked."""
    found = find(session, key)
    if found is None or not is_valid(found):
        raise unknown()
    return found


def find(session: Session, key: str) -> ApiKey | None:
    """The row of a key, whether it still opens something or not."""
    return session.execute(queries.key_by_digest(digest(key))).scalar_one_or_none()


def is_valid(key: ApiKey) -> bool:
    """Whether a key is neither expired nor revoked."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > datetime.now(UTC))


def unknown() -> Unauthorized:
    """What whoever has no valid key is told: not which of the three it is."""
    return Unauthorized("the API key is unknown, expired or revoked")


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
