"""Was this request answered before? What an idempotency key promises (draft-ietf-httpapi-idempotency-key-header).

Knows keys, digests and answers. Knows nothing of the request's content. The answer is stored in the transaction that
executed the request, so both are there or neither; a request that failed changed nothing, and may be sent again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import TextClause, delete, func, text
from sqlalchemy.orm import Session

from hsu_jobs.errors import IdempotencyConflict, UnderWay
from hsu_jobs.tables import Answer


class Request(NamedTuple):
    """What identifies a request."""

    owner_id: int
    key: str
    sha256: bytes
    """Over method, path and body."""


class StoredAnswer(NamedTuple):
    """The answer to a request."""

    status: int
    location: str | None
    body: bytes


def stored(session: Session, request: Request, *, keep: timedelta) -> StoredAnswer | None:
    """The stored answer to this request; if there is none, the key is locked until the transaction ends.

    Raises `UnderWay` if another transaction is answering it, `IdempotencyConflict` if the key is of another request.
    """
    lock = f"answer {request.owner_id} {request.key}"
    values = {"owner_id": request.owner_id, "key": request.key, "lock": lock, "seconds": keep.total_seconds()}
    is_ours, sha256, *given = session.execute(_EARLIER, values).one()
    if sha256 is not None:
        if sha256 != request.sha256:
            raise IdempotencyConflict(
                f"Idempotency-Key {request.key!r} came with another request before; "
                "use a new key for a new request, or send the same one again"
            )
        return StoredAnswer(*given)
    if not is_ours:
        raise _under_way(request)
    return None


def store(session: Session, request: Request, given: StoredAnswer, *, keep: timedelta) -> None:
    """Store the answer. Raises `UnderWay` if another transaction was faster: the caller must then roll back."""
    values = request._asdict() | given._asdict() | {"seconds": keep.total_seconds()}
    if session.execute(_REMEMBER, values).one_or_none() is None:
        raise _under_way(request)


def forget(session: Session, *, keep: timedelta) -> None:
    """Delete answers that are too old to be repeated."""
    session.execute(delete(Answer).where(Answer.created_at <= func.now() - keep))


_EARLIER: TextClause = text("""
SELECT is_ours, asked_sha256, status, location, body
FROM (SELECT pg_try_advisory_xact_lock(hashtextextended(:lock, 0)) AS is_ours) AS lock
LEFT JOIN answers ON owner_id = :owner_id AND key = :key AND created_at > now() - make_interval(secs => :seconds)
""")
"""Whether this transaction got the key's lock, and the stored answer."""

# Replaces an expired answer, never a valid one, which another transaction stored in the meantime.
_REMEMBER: TextClause = text("""
INSERT INTO answers (owner_id, key, asked_sha256, status, location, body)
VALUES (:owner_id, :key, :sha256, :status, :location, :body)
ON CONFLICT (owner_id, key) DO UPDATE
SET asked_sha256 = excluded.asked_sha256, status = excluded.status, location = excluded.location,
    body = excluded.body, created_at = now()
WHERE answers.created_at <= now() - make_interval(secs => :seconds)
RETURNING true
""")


def _under_way(request: Request) -> UnderWay:
    return UnderWay(f"a request with Idempotency-Key {request.key!r} is under way; ask again in a moment")
