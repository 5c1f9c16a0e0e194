"""Jobs: list them, look at one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import Viewer
from api.deps import Session
from api.owned import JobTag, OwnedJob
from api.problems import problems
from api.unchanged import NOT_MODIFIED
from api.views import JobPage, JobView, rendered
from hsu_jobs import queries
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized
from hsu_jobs.states import State
from hsu_jobs.tables import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Cursor = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")]


@router.get("", responses=problems(BadRequest, Unauthorized))
def list_jobs(
    key: Viewer,
    session: Session,
    state: State | None = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """Your jobs, newest first; everyone's for an admin. Points that a job placed come with the job alone."""
    wanted = queries.jobs_visible_to(key)
    wanted = wanted if state is None else wanted.where(Job.state == state)
    page = session.execute(queries.newest_first(wanted, before=cursor, limit=limit + 1)).scalars().all()
    jobs = [JobView.of(job, with_points=False) for job in page[:limit]]
    return JobPage(jobs=jobs, next_cursor=str(jobs[-1].id) if len(page) > limit else None)


@router.get("/{job_id}", response_model=JobView, responses=NOT_MODIFIED | problems(BadRequest, Unauthorized, NotFound))
def show_job(tag: JobTag, job: OwnedJob, session: Session) -> Response:
    """A job: its state, why it waits or how far it is, its attempts and, once it succeeded, its result."""
    return rendered(JobView.seen(session, job), tag=tag)
