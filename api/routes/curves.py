"""Curves: what a job measured, live while it trains and for good afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Session
from api.owned import OwnedJob
from api.problems import problems
from api.views import CurvesView, CurveView
from hsu_jobs import curves
from hsu_jobs.curves import Origin
from hsu_jobs.errors import BadRequest, NotFound, Unauthorized

router = APIRouter(prefix="/v1/jobs", tags=["curves"])

Step = Annotated[int, Query(ge=0, le=2**63 - 1)]
RelativeTo = Annotated[
    Origin | None,
    Query(
        description="Subtract this reference from each curve: the gap to random points, or to the proven optimum, "
        "which compares layers of different shape. Curves that have no such reference are left out."
    ),
]


@router.get("/{job_id}/curves", responses=problems(BadRequest, Unauthorized, NotFound))
def read_curves(
    job: OwnedJob,
    session: Session,
    layer: Annotated[list[str], Query(description="Only these layers; repeat for several.")] = [],  # noqa: B006
    measure: Annotated[list[str], Query(description="Only these measures; repeat for several.")] = [],  # noqa: B006
    first_step: Step = 0,
    last_step: Step = 2**63 - 1,
    relative_to: RelativeTo = None,
) -> CurvesView:
    """The energy curves of a job, and its losses and accuracies, in ascending steps.

    Every recorded step has its own values: nothing is averaged or left out. Each curve of a layer also says what
    random points and the best ones would have.
    """
    chosen = curves.read(
        session, job.id, layers=layer, measures=measure, first=first_step, last=last_step, relative_to=relative_to
    )
    return CurvesView(job=job.id, relative_to=relative_to, curves=[CurveView.of(curve) for curve in chosen])
