"""Who changed what?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from hsu_jobs.tables.base import ID, NOW, Row


class AuditRow(Row):
    """A request that changed something or tried to, or a known key that is no longer valid.

    Names are stored as they were, so that a line never changes.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("audit_of_user", "user", "id"), Index("audit_by_age", "at"))

    id: Mapped[int] = mapped_column(*ID, primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    user: Mapped[str]
    key_prefix: Mapped[str]
    address: Mapped[str]
    """The client's address, as the web server knows it."""
    request_id: Mapped[str]
    action: Mapped[str]
    """Method and route: `POST /v1/jobs/{job_id}/cancel`."""
    subject: Mapped[dict[str, Any]]
    """What the route's path names, and as `location` what the request created."""
    status: Mapped[int] = mapped_column(SmallInteger)
    """The status of the answer."""
