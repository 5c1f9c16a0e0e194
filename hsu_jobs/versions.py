"""Has a job changed since it was last looked at? One small question in place of loading all of it.

Knows which rows a job's view is made of. Why a queued one waits changes with every other job: that is a picture, and
counts for two seconds.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from hsu_jobs.tables import ApiKey, Role


def of_job(session: Session, job_id: int, *, holder: ApiKey) -> str | None:
    """What is another whenever the job or an attempt was written; None if it is not there, or not for this key."""
    row = session.execute(_WRITTEN_BY, {"job_id": job_id}).one_or_none()
    if row is None or (holder.role is not Role.ADMIN and holder.user_id != row.owner_id):
        return None
    version: str = row.version
    return version


_WRITTEN_BY: TextClause = text("""
SELECT owner_id, concat_ws('.', xmin, (
    SELECT string_agg(CAST(xmin AS text), '.' ORDER BY number) FROM attempts WHERE job_id = jobs.id
), CASE WHEN state = 'queued' THEN 'q' || floor(extract(epoch FROM now()) / 2) END) AS version
FROM jobs WHERE id = :job_id
""")
"""Every row of Postgres tells the transaction that wrote it."""
