"""What do routes hold? A session, that is one transaction a request, and what they share of its headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Header
from sqlalchemy import orm

from hsu_jobs import database


def session() -> Iterator[orm.Session]:
    """The request's transaction."""
    with database.transaction() as opened:
        yield opened


Session = Annotated[orm.Session, Depends(session, scope="function")]
"""scope=function: what the route did is committed before the client hears of it."""

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="Sending the same request again with it gives the same job."),
]
