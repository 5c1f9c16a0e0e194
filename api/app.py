"""The web app: routes, problems and limits put together.

    python -m api

Knows no torch: what it needs of a spec is torch-free, and a test proves it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import cors, deps, document, known_keys, orphans, problems, traces, unchanged
from api.body_limit import BodyLimit
from api.edge import Edge
from api.fair_turns import FairTurns
from api.http_version import WithoutChunks
from api.json_body import JsonBody
from api.large_answers import LargeAnswers
from api.lasting import Rights
from api.live import Live
from api.path_prefix import PathPrefix
from api.routes import (
    actions,
    audit,
    catalog,
    checkpoints,
    curves,
    docs,
    events,
    health,
    jobs,
    keys,
    log,
    metrics,
    points,
    queue,
    submissions,
    users,
    webhooks,
    workers,
)
from api.time_limit import TimeLimit
from hsu_jobs import database, log_lines, rates
from hsu_jobs import queue as doorbell
from hsu_jobs.settings import settings, unknown

_log = logging.getLogger(__name__)

DESCRIPTION = """
Train networks with hyperspherical uniformity and read their energy curves.

Every request but the health checks carries `Authorization: Bearer <key>`. Errors are `application/problem+json`
(RFC 9457) with a stable `code`; a bad spec's `errors` point at each field (RFC 6901). NaN and infinities are the
strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
"""


def create_app() -> FastAPI:
    """The ASGI app; nothing connects before the first request."""
    log_lines.set_up(settings())
    for fault in unknown():
        _log.warning(fault)
    app = FastAPI(
        title="HSU",
        summary="Hyperspherical uniformity as a training service",
        description=DESCRIPTION,
        version="1",
        openapi_tags=document.tags(),
        generate_unique_id_function=document.name_of,
        telemetry=traces.of_requests(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.live = Live()
    app.state.rights = Rights()
    app.state.turns = FairTurns(deps.AT_ONCE, most_of_one=deps.MOST_OF_ONE)
    app.state.large_answers = LargeAnswers()
    app.add_middleware(JsonBody)
    app.add_middleware(BodyLimit, limit=settings().max_body)
    unchanged.install(app)
    app.add_middleware(TimeLimit, limit=settings().request_time)
    cors.allow(app, settings().cors_origins)
    app.add_middleware(WithoutChunks)
    app.add_middleware(Edge)
    app.add_middleware(PathPrefix, root_path=settings().root_path)
    database.limit_statements(settings().request_time)
    traces.follow(database.engine())
    problems.install(app)
    document.install(app)
    unchanged.describe(app)
    for routes in (
        jobs,
        submissions,
        actions,
        curves,
        points,
        checkpoints,
        log,
        events,
        queue,
        workers,
        users,
        keys,
        audit,
        webhooks,
        catalog,
        health,
        metrics,
        docs,
    ):
        app.include_router(routes.router)
    app.webhooks.include_router(webhooks.told)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    live: Live = app.state.live
    rights: Rights = app.state.rights
    orphans.end_with_parent()
    async with live.listening(), rights.watched():
        yield
    doorbell.bell().close()
    known_keys.forget()
    rates.close()
    database.engine().dispose()
