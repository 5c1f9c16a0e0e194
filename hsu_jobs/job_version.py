"""Has a job changed since the client last read it? One small query in place of loading all of it.

Knows which rows a job's view is made of. The reason why a queued job waits changes with every other job: it is a
snapshot, and counts for two seconds.
"""

from __future__ import annotations

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from hsu_jobs.tables import MOST_ATTEMPTS, ApiKey, Role


def of_job(session: Session, job_id: int, *, holder: ApiKey) -> str | None:
    """A value that changes when the job or an attempt is written; None if it does not exist, or not for this key."""
    row = session.execute(_WRITTEN_BY, {"job_id": job_id, "attempts": MOST_ATTEMPTS}).one_or_none()
    if row is None or (holder.role is not Role.ADMIN and holder.user_id != row.owner_id):
        return None
    version: str = row.version
    return version


_WRITTEN_BY: TextClause = text("""
SELECT owner_id, md5(concat_ws('.', id, xmin, (
    SELECT string_agg(concat(number, ':', xmin), '.' ORDER BY number) FROM (
        SELECT number, xmin FROM attempts WHERE job_id = jobs.id ORDER BY number DESC LIMIT :attempts
    ) AS shown
), CASE WHEN state = 'queued' THEN 'q' || floor(extract(epoch FROM now()) / 2) END)) AS version
FROM jobs WHERE id = :job_id
""")
"""Every row of Postgres names the transaction that wrote it. Hashed, so that many attempts make the tag no longer."""
