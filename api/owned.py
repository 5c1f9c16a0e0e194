"""Whose job is it? A job in the path, found only by those who may see it: to others it does not exist."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from api.auth import Viewer
from api.deps import Session
from hsu_jobs import queries
from hsu_jobs.errors import NotFound
from hsu_jobs.tables import Job


def visible_job(job_id: Annotated[int, Path(ge=1, le=2**63 - 1)], key: Viewer, session: Session) -> Job:
    """The job of this id. Raises `NotFound`."""
    job = session.execute(queries.jobs_visible_to(key).where(Job.id == job_id)).scalar_one_or_none()
    if job is None:
        raise NotFound(f"there is no job {job_id}, or it is not yours")
    return job


OwnedJob = Annotated[Job, Depends(visible_job, scope="function")]
