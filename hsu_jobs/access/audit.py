"""Who changed what, from where, and with which result?

Knows rows. The web app decides what is recorded, in the transaction of the change.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from sqlalchemy import Delete, Select, delete, func, select

from hsu_jobs.tables import AuditRow

_AT_ONCE = 10_000


def at_the_machine(command: str, *, operator: str, subject: dict[str, Any]) -> AuditRow:
    """The line of a command that an operator ran at the machine, without a key."""
    return AuditRow(
        user=operator,
        key_prefix="",
        address="",
        request_id="",
        action=f"admin {command}",
        subject=subject,
        status=HTTPStatus.OK,
    )


def newest_first(
    *, user: str | None, action: str | None, since: datetime | None, before: int | None, limit: int
) -> Select[AuditRow]:
    """A page of the log: the `limit` newest lines below an id, of a user, an action, or since a time."""
    given = {AuditRow.user: user, AuditRow.action: action}
    wanted = [column == value for column, value in given.items() if value is not None]
    if since is not None:
        wanted.append(AuditRow.at >= since)
    if before is not None:
        wanted.append(AuditRow.id < before)
    return select(AuditRow).where(*wanted).order_by(AuditRow.id.desc()).limit(limit)


def outlived(retention: timedelta) -> Delete:
    """Delete lines that are older than this, some at a time."""
    old = select(AuditRow.id).where(AuditRow.at < func.now() - retention).order_by(AuditRow.at).limit(_AT_ONCE)
    return delete(AuditRow).where(AuditRow.id.in_(old.scalar_subquery()))
