"""Whose key is this? Keys are shown once and kept as digests.

A key is `hsu_<prefix>_<secret>`: the secret has 256 random bits, so a plain SHA-256 keeps it safe. It is found by its
digest. The time of the search shows at most how a digest begins, which is of no use: no key can be made for a digest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from hsu_jobs import queries
from hsu_jobs.errors import Gone, Unauthorized
from hsu_jobs.tables import ApiKey, Role, User


class Issued(NamedTuple):
    """A new key, which is shown this once."""

    row: ApiKey
    key: str


class Found(NamedTuple):
    """A key that was looked up."""

    row: ApiKey
    opens: bool
    """Whether it is neither revoked nor expired, by the database's clock."""
    seconds: float | None = None
    """Until it expires; None if it never does."""
    was_used_long_ago: bool = False
    """Whether its use should be recorded."""


def create(session: Session, *, user: str, role: Role, expires_in: timedelta | None = None) -> str:
    """Make a key for a user, and the user if new; returns the key, which cannot be read again."""
    expires_at = None if expires_in is None else now(session) + expires_in
    return issue(session, user=user, role=role, expires_at=expires_at).key


def issue(
    session: Session,
    *,
    user: str,
    role: Role,
    name: str = "",
    expires_at: datetime | None = None,
    made_by: ApiKey | None = None,
    replaces: ApiKey | None = None,
) -> Issued:
    """Make a key with a name for a user, and the user if new."""
    session.execute(insert(User).values(name=user).on_conflict_do_nothing())
    owner = session.execute(queries.user_by_name(user)).scalar_one()
    prefix = secrets.token_hex(4)
    key = f"hsu_{prefix}_{secrets.token_urlsafe(32)}"
    row = ApiKey(
        user=owner,
        name=name,
        prefix=prefix,
        digest=digest(key),
        role=role,
        expires_at=expires_at,
        made_by_id=made_by.id if made_by else None,
        replaces_id=replaces.id if replaces else None,
    )
    session.add(row)
    session.flush()
    return Issued(row, key)


def rotate(session: Session, key: ApiKey, *, overlap: timedelta, asked_by: ApiKey) -> Issued:
    """Replace a key by a new one; the old one stays valid for `overlap` more.

    The new key has the lifetime of the old one, but expires no later than the caller's key.
    Raises `Gone` if the old one is no longer valid, or was replaced before.
    """
    at = now(session)
    if key.expires_at is not None and key.expires_at <= at:
        raise Gone(f"key {key.id} is revoked or expired: make a new one")
    if successor := replaced_by(session, key):
        raise Gone(f"key {key.id} was replaced by key {successor}: rotate that one")
    wanted = at + (key.expires_at - key.created_at) if key.expires_at else None
    issued = issue(
        session,
        user=key.user.name,
        role=key.role,
        name=key.name,
        expires_at=earlier(wanted, asked_by.expires_at),
        made_by=asked_by,
        replaces=key,
    )
    if overlap:
        key.expires_at = earlier(key.expires_at, at + overlap)
    else:
        key.revoked_at = at
    return issued


def revoke(session: Session, key: ApiKey, *, along: bool, asked_by: ApiKey | None = None) -> list[int]:
    """Revoke a key, and with `along` every key that it made, that those made, and so on.

    The caller's key and those that it made stay valid. Returns the ids of the other revoked keys.
    """
    revoked: set[int] = set()
    made = [key.id]
    while made:  # repeat: a key that is made meanwhile is seen only when the row of its maker is unlocked
        revoked |= set(session.execute(queries.revoke_keys(made)).scalars())
        asks = asked_by.id if asked_by else None
        made = [each for each in _descendants(session, key.id, but=asks) if each not in revoked] if along else []
        made = list(session.execute(queries.not_revoked(made)).scalars())
    session.expire(key, ["revoked_at"])
    return sorted(revoked - {key.id})


def require_open(session: Session, key: ApiKey) -> None:
    """Raise `Unauthorized` unless a key is valid, and keep it valid until the transaction ends.

    The API's cached key may be two seconds old: too old to make another key with it.
    """
    if session.execute(queries.open_key(key.id)).scalar_one_or_none() is None:
        raise unknown()


def replaced_by(session: Session, key: ApiKey) -> int | None:
    """The key that replaces a key, if there is one."""
    return session.execute(queries.successor_of(key.id)).scalar_one_or_none()


def holder(session: Session, key: str) -> ApiKey:
    """Whose key this is. Raises `Unauthorized` if it is unknown, expired or revoked."""
    found = find(session, key)
    if found is None or not found.opens:
        raise unknown()
    return found.row


def find(session: Session, key: str) -> Found | None:
    """A key, valid or not."""
    row = session.execute(queries.key_by_digest(digest(key))).one_or_none()
    return None if row is None else Found(*row)


def now(session: Session) -> datetime:
    """The time by which keys expire: the database's."""
    return session.execute(queries.clock()).scalar_one()


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """The earlier end; None means no end."""
    return min((each for each in (one, other) if each is not None), default=None)


def _descendants(session: Session, key_id: int, *, but: int | None) -> list[int]:
    makers = {made: maker for made, maker in session.execute(queries.made_by(key_id))}  # noqa: C416 - rows are no pairs
    return [made for made in makers if but is None or but not in _line(made, makers)]


def _line(key_id: int, makers: Mapping[int, int | None]) -> list[int]:
    """A key and those that made it, as far as they are known."""
    line = [key_id]
    while (maker := makers.get(line[-1])) is not None and maker not in line:
        line.append(maker)
    return line


def unknown() -> Unauthorized:
    """The error for a caller without a valid key: it does not say which of the three reasons applies."""
    return Unauthorized("the API key is unknown, expired or revoked")


def digest(key: str) -> bytes:
    """The digest that is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
