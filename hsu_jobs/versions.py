"""Has a job changed since it was last looked at? One small question in place of loading all of it.

Knows which rows a job's view is made of. A queued job has no version: why it waits changes with every other job.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from hsu_jobs.states import State
from hsu_jobs.tables import ApiKey, Role


def of_job(session: Session, job_id: int, *, holder: ApiKey) -> str | None:
    """What is another whenever the job or an attempt was written; None if it is queued, not there, or not the key's."""
    row = session.execute(_WRITTEN_BY, {"job_id": job_id}).one_or_none()
    if row is None or row.state == State.QUEUED:
        return None
    return row.version if holder.role is Role.ADMIN or holder.user_id == row.owner_id else None


_WRITTEN_BY: TextClause = text("""
SELECT owner_id, state, concat_ws('.', xmin, (
    SELECT string_agg(CAST(xmin AS text), '.' ORDER BY number) FROM attempts WHERE job_id = jobs.id)) AS version
FROM jobs WHERE id = :job_id
""")
"""Every row of Postgres tells the transaction that wrote it."""
