"""Submissions: one job, or many at once."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response
from sqlalchemy import orm

from api.auth import Member
from api.deps import Session
from api.once import Once
from api.problems import problems
from api.views import SubmittedView, created
from hsu_jobs import admission, database, lifecycle, queue
from hsu_jobs.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    IdempotencyConflict,
    SpecRejected,
    Unauthorized,
    UnderWay,
)
from hsu_jobs.settings import settings
from hsu_jobs.spec import JobSpec
from hsu_jobs.tables import ApiKey, Role

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    response_model=SubmittedView,
    responses=problems(BadRequest, Unauthorized, Forbidden, UnderWay, BodyTooLarge, IdempotencyConflict, SpecRejected),
)
def submit_job(spec: JobSpec, key: Member, session: Session, once: Once) -> Response:
    """Queue a job. With an Idempotency-Key, sending the same spec again gives the same job."""
    return once(partial(_submitted, spec, key, session))


def _submitted(spec: JobSpec, key: ApiKey, session: orm.Session) -> Response:
    admission.check(session, spec, settings(), key=key)
    (queued,) = lifecycle.submit_all(session, [spec], owner_id=key.user_id, sees_all=key.role is Role.ADMIN)
    database.afterwards(session, partial(queue.bell().ring, queued.id))
    return created(SubmittedView.just(queued, spec, owner=key.user.name))
