"""What do routes hold? A session: one transaction a request, committed before the answer leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import orm

from hsu_jobs import database


def session() -> Iterator[orm.Session]:
    """The request's transaction."""
    with database.transaction() as opened:
        yield opened


Session = Annotated[orm.Session, Depends(session, scope="function")]
"""scope=function: what the route did is committed before the client hears of it."""
