"""Curves: what jobs measured, live while they train and permanently afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from pyarrow import Table
from pydantic import Field
from sqlalchemy import orm

from api.dependencies.auth import Viewer
from api.dependencies.curve_query import Chosen, CurveForm, Form
from api.dependencies.jobs import OwnedJob, require_visible
from api.dependencies.session import Session
from api.problems import problems
from api.streams.large_responses import Download, LargeJson
from api.views import curve_formats, curve_json
from api.views.curve_formats import MEDIA_TYPES, CurvesView, Format
from hsu_core.spec.values import EXACT
from hsu_jobs import curves, database
from hsu_jobs.curves import Choice, Lines
from hsu_jobs.errors import BadRequest, NotFound, TooMuch, Unauthorized, UpgradeRequired
from hsu_jobs.tables import ApiKey

router = APIRouter(prefix="/v1", tags=["curves"])

MOST_IN_JSON = 2_000_000
"""Values that one JSON answer may hold; files may hold any number."""
MOST_BUCKETS = 500_000
"""Buckets that the charts of one answer may hold, each of seven numbers, all in memory at once."""
LARGE = 100_000
"""An answer with so many values or buckets, or more, waits for a slot, and is written to the disk before it is sent."""


class Asked(NamedTuple):
    """Which curves, and how."""

    choice: Choice
    form: Form


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
def read_curves(
    request: Request, job: OwnedJob, key: Viewer, session: Session, choice: Chosen, form: CurveForm
) -> Response:
    """The energy curves of a job, and its losses and accuracies, in ascending steps.

    Every recorded step has its own values, unless `max_points` asks for a chart. Each curve of a layer also has the
    values of random points and of the best ones.
    """
    return _answer(request, key, session, [job.id], Asked(choice, form))


@router.get(
    "/curves",
    response_class=Response,
    responses=SHAPES | problems(BadRequest, Unauthorized, NotFound, TooMuch, UpgradeRequired),
)
def compare_curves(
    request: Request,
    job: Annotated[list[Id], Query(min_length=1, max_length=100, description="Of these jobs; repeat for several.")],
    key: Viewer,
    session: Session,
    choice: Chosen,
    form: CurveForm,
) -> Response:
    """The curves of several jobs; with `max_points` in the same buckets, so that they can be drawn together."""
    return _answer(request, key, session, require_visible(session, key, job), Asked(choice, form))


def _answer(request: Request, key: ApiKey, session: orm.Session, job_ids: list[int], asked: Asked) -> Response:
    lines = curves.find(session, job_ids, asked.choice)
    size = _size(session, lines, asked)
    if asked.form.format is not Format.JSON:
        headers = {"Content-Disposition": f'attachment; filename="curves.{asked.form.format}"'}
        pieces = partial(_file, job_ids, asked)
        return Download(request, key, pieces, headers=headers, media_type=asked.form.format.media_type)
    if size > LARGE:
        return LargeJson(request, key, partial(_long_json, job_ids, asked))
    return Response(b"".join(_json(session, lines, asked)), media_type=Format.JSON.media_type)


def _size(session: orm.Session, lines: Lines, asked: Asked) -> int:
    """Values, or buckets, of the answer. Raises `TooMuch`."""
    most = asked.form.max_points
    if most is not None:
        size = curves.most_buckets(session, lines, max_points=most)
        if size > MOST_BUCKETS:
            raise TooMuch(
                f"charts hold {MOST_BUCKETS:,} buckets at most, and these may be {size:,}: ask for fewer curves or "
                "steps, for fewer max_points, or for every point as a file (format=parquet)"
            )
        return size
    size = curves.count(session, lines)
    if asked.form.format is Format.JSON and size > MOST_IN_JSON:
        raise TooMuch(
            f"JSON holds {MOST_IN_JSON:,} values at most, and these are {size:,}: ask for a chart (max_points), "
            "for fewer curves or steps, or for a file (format=parquet)"
        )
    return size


def _json(session: orm.Session, lines: Lines, asked: Asked) -> Iterator[bytes]:
    choice, form = asked
    if form.max_points is not None:
        chart = curves.sample(session, lines, choice, max_points=form.max_points)
        found = (curve_json.in_buckets(curve, times=form.times) for curve in chart.curves)
        return curve_json.written(found, relative_to=choice.relative_to, bucket=chart.width)
    found = (
        curve_json.every_point(job_id, curve, times=form.times)
        for job_id, line in lines.items()
        for curve in curves.each(session, line, choice, values=LARGE)
    )
    return curve_json.written(found, relative_to=choice.relative_to, bucket=None)


def _long_json(job_ids: list[int], asked: Asked) -> Iterator[bytes]:
    """Read in a transaction of its own, so that all parts show the same state."""
    with database.transaction() as session:
        database.repeatable_read(session)
        yield from _json(session, curves.find(session, job_ids, asked.choice), asked)


def _file(job_ids: list[int], asked: Asked) -> Iterator[bytes]:
    choice, form = asked
    if form.max_points is None:
        return curve_formats.written(curve_formats.table(job_ids, choice), curve_formats.EVERY_POINT, form.format)
    return curve_formats.written(_chart(job_ids, choice, form.max_points), curve_formats.BUCKETS, form.format)


def _chart(job_ids: list[int], choice: Choice, max_points: int) -> Iterator[Table]:
    with database.transaction() as session:
        chart = curves.sample(session, curves.find(session, job_ids, choice), choice, max_points=max_points)
    yield curve_formats.chart_table(chart)
