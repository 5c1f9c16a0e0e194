"""Curves: what a job measured, live while it trains and for good afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Session
from api.owned import OwnedJob
from api.problems import problems
from api.views import CurvesView, CurveView
from hsu_jobs import curves
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized

router = APIRouter(prefix="/v1/jobs", tags=["curves"])

Step = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get("/{job_id}/curves", responses=problems(BadRequest, Unauthorized, NotFound))
def read_curves(
    job: OwnedJob,
    session: Session,
    layer: Annotated[list[str], Query(description="Only these layers; repeat for several.")] = [],  # noqa: B006
    measure: Annotated[list[str], Query(description="Only these measures; repeat for several.")] = [],  # noqa: B006
    first_step: Step = 0,
    last_step: Step = 2**63 - 1,
) -> CurvesView:
    """The energy curves of a job, and its losses and accuracies, in ascending steps.

    Every recorded step has its own values: nothing is averaged or left out.
    """
    chosen = curves.read(session, job.id, layers=layer, measures=measure, first=first_step, last=last_step)
    return CurvesView(job=job.id, curves=[CurveView.of(curve) for curve in chosen])
