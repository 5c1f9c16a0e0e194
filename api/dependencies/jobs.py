"""Which jobs may the caller see? A job in the path of a request does not exist for a caller who may not see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from sqlalchemy import orm

from api.dependencies.auth import Viewer
from api.dependencies.session import Session
from api.middleware.etags import NotModified, has_current
from hsu_core.spec.values import EXACT
from hsu_jobs import job_version, queries
from hsu_jobs.errors import NotFound
from hsu_jobs.tables import ApiKey, Attempt, Job

JobId = Annotated[int, Path(ge=1, le=EXACT)]


def visible_job(job_id: JobId, key: Viewer, session: Session) -> Job:
    """The job of this id. Raises `NotFound`."""
    job = session.execute(queries.jobs_visible_to(key).where(Job.id == job_id)).scalar_one_or_none()
    if job is None:
        raise NotFound(f"there is no job {job_id}, or it is not yours")
    return job


def require_visible(session: orm.Session, key: ApiKey, job_ids: Sequence[int]) -> list[int]:
    """These jobs, each once. Raises `NotFound` if the key may not see one of them."""
    wanted = list(dict.fromkeys(job_ids))
    seen = session.execute(queries.ids_visible_to(key).where(Job.id.in_(wanted))).scalars().all()
    if missing := sorted(set(wanted) - set(seen)):
        raise NotFound(f"there are no jobs {', '.join(map(str, missing))}, or they are not yours")
    return wanted


OwnedJob = Annotated[Job, Depends(visible_job, scope="function")]
"""A job that the caller may see."""


def changed_job(request: Request, job_id: JobId, key: Viewer, session: Session) -> str | None:
    """The entity tag of a job's current view, if it has one. Raises `NotModified` if the client has that view.

    The tag is weak: equal for views that mean the same, whichever version of the service writes them.
    """
    version = job_version.of_job(session, job_id, holder=key)
    if version is None:
        return None
    tag = f'W/"{version}"'
    if has_current(request, tag):
        raise NotModified(tag)
    return tag


JobTag = Annotated[str | None, Depends(changed_job, scope="function")]
"""Comes before `OwnedJob`, so that an unchanged job is not loaded."""


def visible_attempt(
    job: OwnedJob,
    session: Session,
    attempt: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="Its number; the last one by default.")
    ] = None,
) -> Attempt:
    """One of the job's attempts. Raises `NotFound`."""
    if not job.attempts:
        raise NotFound(f"job {job.id} has no attempt yet: it is {job.state}")
    found = session.execute(queries.attempt_of(job.id, attempt)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"job {job.id} has no attempt {attempt}; there are 1 to {job.attempts[-1].number}")
    return found


OwnedAttempt = Annotated[Attempt, Depends(visible_attempt, scope="function")]
"""An attempt at a job that the caller may see."""
