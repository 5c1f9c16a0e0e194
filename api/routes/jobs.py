"""Jobs: list them, look at one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.dependencies import job_fields
from api.dependencies.auth import Viewer
from api.dependencies.job_fields import Fields
from api.dependencies.jobs import JobTag, OwnedJob
from api.dependencies.long_poll import Changed
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import JobPage, JobPart, JobPartPage, JobView, rendered
from hsu_jobs import listing, queries
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class ListOfJobs(listing.Listing):
    """Which jobs, and how much of them."""

    fields: Annotated[str, Field(min_length=1, max_length=500, examples=["id,state,result"])] | None = None
    """Only these fields of each job, separated by commas: `id,state,result`."""
    cursor: Annotated[str, Field(max_length=1000)] | None = None
    """`next_cursor` of the page before, with the same filters and sort."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Jobs on a page."""


@router.get("", response_model=JobPage | JobPartPage, responses=problems(BadRequest, Unauthorized))
def list_jobs(key: Viewer, session: Session, asked: Annotated[ListOfJobs, Query()]) -> Response:
    """Your jobs, newest first; all users' jobs for an admin. Placed points are only in the answer for a single job."""
    fields = job_fields.chosen(asked.fields)
    found = listing.page(session, queries.jobs_visible_to(key), asked, cursor=asked.cursor, limit=asked.limit)
    jobs = shown("list of jobs", found.jobs, partial(JobView.of, with_points=False))
    return JobPage(jobs=jobs, next_cursor=found.next_cursor).only(fields)


@router.get(
    "/{job_id:int}",  # `bulk` is not an id
    response_model=JobView | JobPart,
    responses=problems(BadRequest, Unauthorized, NotFound),
)
def show_job(_changed: Changed, tag: JobTag, job: OwnedJob, session: Session, fields: Fields) -> Response:
    """A job: its state, why it waits or how far it is, its attempts and, once it succeeded, its result.

    With `wait` the answer comes when the state is a different one, and at the latest after so many seconds.
    """
    return rendered(JobView.seen(session, job), include=fields, tag=tag)
