"""Jobs: submit, list, look at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Response

from api.auth import Member, Viewer
from api.awaited import Changed
from api.deps import IdempotencyKey, Session
from api.owned import OwnedJob
from api.problems import problems
from api.views import JobPage, JobView
from hsu_jobs import admission, lifecycle, queries, queue
from hsu_jobs.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    IdempotencyConflict,
    NotFound,
    SpecRejected,
    Unauthorized,
)
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec
from hsu_jobs.states import State
from hsu_jobs.tables import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Cursor = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")]


@router.post(
    "",
    status_code=201,
    responses=problems(BadRequest, Unauthorized, Forbidden, BodyTooLarge, IdempotencyConflict, SpecRejected),
)
def submit_job(
    spec: JobSpec,
    key: Member,
    session: Session,
    background: BackgroundTasks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Queue a job. With an Idempotency-Key, sending the same spec again gives the same job."""
    admission.check(session, spec, settings(), key=key)
    job = lifecycle.submit(session, spec, owner=key.user, idempotency_key=idempotency_key)
    background.add_task(queue.ring, job.id)
    response.headers["Location"] = f"{router.prefix}/{job.id}"
    return JobView.seen(session, job)


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


@router.get("/{job_id}", responses=problems(BadRequest, Unauthorized, NotFound))
def show_job(_changed: Changed, job: OwnedJob, session: Session) -> JobView:
    """A job: its state, why it waits or how far it is, its attempts and, once it succeeded, its result.

    With `wait` the answer comes as soon as the state is another, and at the latest after so many seconds.
    """
    return JobView.seen(session, job)
