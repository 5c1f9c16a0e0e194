"""Answers: which examples of the test set a job's network classified right."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.dependencies.auth import Viewer
from api.dependencies.jobs import OwnedJob, visible_job
from api.dependencies.session import Session
from api.problems import problems
from api.views.jobs import View
from hsu_core.spec.values import EXACT
from hsu_jobs.artifacts import answers
from hsu_jobs.errors import BadRequest, NotFound, SpecRejected, Unauthorized
from hsu_jobs.studies import examples
from hsu_jobs.studies.examples import ExamplesView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


class AnswersView(View):
    """Which examples of the test set were classified right, at the evaluation after the last step."""

    job: int
    count: int
    """The examples of the test set."""
    right: int
    """How many of them were classified right."""
    bits: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
    """Base64 of one bit each, in the order of the test set: the most significant bit of a byte first, the last byte
    padded with zeros. Equal places of two jobs on the same data set are the same example."""


@router.get("/{job_id}/answers", responses=problems(BadRequest, Unauthorized, NotFound))
def get_answers(job: OwnedJob, session: Session) -> AnswersView:
    """Which test examples the network of a succeeded job classified right: for jobs whose task has classes."""
    kept = answers.of(session, job.id)
    ones = int.from_bytes(kept.bits, "big").bit_count()
    return AnswersView(job=job.id, count=kept.count, right=ones, bits=b64encode(kept.bits).decode())


@router.get("/{job_id}/answers/compare", responses=problems(BadRequest, Unauthorized, NotFound, SpecRejected))
def compare_answers(
    job: OwnedJob,
    key: Viewer,
    session: Session,
    other: Annotated[int, Query(ge=1, le=EXACT, description="The job with which it is compared.")],
) -> ExamplesView:
    """Two jobs on the same test examples: would new examples show a difference between these networks?"""
    return examples.of_jobs(session, job, visible_job(other, key, session))
