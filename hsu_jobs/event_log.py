"""How is an event of a job written? As a row, with a notification after the commit.

Knows rows and the channel of notifications. What can happen to a job is in `events`.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from hsu_jobs import pubsub, queries
from hsu_jobs.events import Event


def record(session: Session, job_id: int, event: Event) -> None:
    """Record what happened to a job, and notify its listeners after the commit.

    The job's row is locked from here on; a caller that also locks an attempt has locked the attempt before. So the ids
    of a job's events become visible in ascending order: a reader that has seen one has seen those before it.
    """
    session.execute(queries.happened(job_id, event.model_dump(mode="json")))
    pubsub.notify(session, job_id)
