"""The audit log: who changed what, from where, and with which result."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query

from api.dependencies.auth import Admin
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import EXACT
from hsu_jobs.access import audit
from hsu_jobs.errors import BadRequest, Forbidden, Unauthorized
from hsu_jobs.tables import AuditRow
from hsu_jobs.timestamps import Timestamp

router = APIRouter(prefix="/v1/audit", tags=["audit"])

Text = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")]


class AuditView(View):
    """A request that changed something or tried to, or a known key that is no longer valid."""

    id: int
    at: datetime
    user: str
    key_prefix: str
    address: str
    """The client's address, as the web server knows it."""
    request_id: str
    action: str
    """Method and route: `POST /v1/jobs/{job_id}/cancel`."""
    subject: dict[str, Any]
    """What the route's path names, and as `location` what the request created."""
    status: int
    """The status of the answer."""

    @classmethod
    def of(cls, row: AuditRow) -> Self:
        """The view of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class AuditPage(View):
    """A page of the audit log, the newest first."""

    entries: list[AuditView]
    next_cursor: str | None
    """Send it as `cursor` for the next page; null on the last one."""


@router.get("", responses=problems(BadRequest, Unauthorized, Forbidden))
def read_audit(
    _key: Admin,
    session: Session,
    user: Text = None,
    action: Annotated[Text, Query(description="As it stands there, method and route.")] = None,
    since: Annotated[Timestamp | None, Query(description="Not before this time.")] = None,
    cursor: Annotated[int | None, Query(ge=1, le=EXACT, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AuditPage:
    """Who changed what, for admins: all requests that changed something or were refused, for `HSU_AUDIT_RETENTION`."""
    wanted = audit.newest_first(user=user, action=action, since=since, before=cursor, limit=limit + 1)
    rows = session.execute(wanted).scalars().all()
    next_cursor = str(rows[limit - 1].id) if len(rows) > limit else None
    return AuditPage(entries=shown("audit log", rows[:limit], AuditView.of), next_cursor=next_cursor)
