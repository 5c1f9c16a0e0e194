"""Curves: what jobs measured, live while they train and for good afterwards."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import orm

from api import curve_views
from api.asked_curves import Chosen, Form, Wanted
from api.auth import Viewer
from api.curve_views import MEDIA_TYPES, CurvesView, CurveView, Format
from api.deps import Session
from api.owned import OwnedJob, require_visible
from api.problems import problems
from hsu_core.spec.values import EXACT
from hsu_jobs import curves
from hsu_jobs.curves import Choice
from hsu_jobs.errors import BadRequest, NotFound, TooMuch, Unauthorized, UpgradeRequired

router = APIRouter(prefix="/v1", tags=["curves"])

MOST_IN_JSON = 2_000_000
"""Values that one JSON answer may hold; files may hold any number."""

Id = Annotated[int, Field(ge=1, le=EXACT)]
SHAPES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": CurvesView,
        "description": "The curves. As a table, a row is a point, or a bucket, with the columns job, layer, measure, "
        "step, time (seconds since the epoch) and value, and of a bucket min, max, count and nan.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in list(MEDIA_TYPES.values())[1:]
        },
    }
}


@router.get(
    "/jobs/{job_id}/curves",
    response_class=Response,
    responses=SHAPES | problems(BadRequest, Unauthorized, NotFound, TooMuch, UpgradeRequired),
)
def read_curves(job: OwnedJob, session: Session, choice: Chosen, form: Wanted) -> Response:
    """The energy curves of a job, and its losses and accuracies, in ascending steps.

    Every recorded step has its own values, unless `max_points` asks for a chart. Each curve of a layer also says what
    random points and the best ones would have.
    """
    return _answer(session, [job.id], choice, form)


@router.get(
    "/curves",
    response_class=Response,
    responses=SHAPES | problems(BadRequest, Unauthorized, NotFound, TooMuch, UpgradeRequired),
)
def compare_curves(
    job: Annotated[list[Id], Query(min_length=1, max_length=100, description="Of these jobs; repeat for several.")],
    key: Viewer,
    session: Session,
    choice: Chosen,
    form: Wanted,
) -> Response:
    """The curves of several jobs; with `max_points` in the same buckets, so that they can be drawn together."""
    return _answer(session, require_visible(session, key, job), choice, form)


def _answer(session: orm.Session, job_ids: list[int], choice: Choice, form: Form) -> Response:
    if form.max_points is not None:
        chart = curves.sample(session, job_ids, choice, max_points=form.max_points)
        if form.format is Format.JSON:
            views = [CurveView.in_buckets(curve, times=form.times) for curve in chart.curves]
            return _json(CurvesView(relative_to=choice.relative_to, bucket=chart.width, curves=views))
        return _file([curve_views.chart_table(chart)], curve_views.BUCKETS, form.format)
    amount = sum(curves.count(session, job_id, choice) for job_id in job_ids)
    if form.format is not Format.JSON:
        return _file(curve_views.table(job_ids, choice), curve_views.EVERY_POINT, form.format)
    if amount > MOST_IN_JSON:
        raise TooMuch(
            f"JSON holds {MOST_IN_JSON:,} values at most, and these are {amount:,}: ask for a chart (max_points), "
            "for fewer curves or steps, or for a file (format=parquet)"
        )
    views = [
        CurveView.of(job_id, curve, times=form.times)
        for job_id in job_ids
        for curve in curves.read(session, job_id, choice)
    ]
    return _json(CurvesView(relative_to=choice.relative_to, bucket=None, curves=views))


def _json(view: CurvesView) -> Response:
    return Response(view.model_dump_json(), media_type=Format.JSON.media_type)


def _file(tables: Any, schema: Any, form: Format) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="curves.{form}"'}
    return StreamingResponse(curve_views.written(tables, schema, form), headers=headers, media_type=form.media_type)
