"""The web app: routes, problems and limits put together.

    python -m api

Does not import torch: the parts of the spec that it needs are torch-free, and a test proves it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import problems
from api.dependencies import key_cache, session
from api.fair_slots import FairSlots
from api.middleware import cors, etags, tracing
from api.middleware.body_limit import BodyLimit
from api.middleware.http_version import Http10Responses
from api.middleware.json_body import JsonBody
from api.middleware.request_log import RequestLog
from api.middleware.time_limit import TimeLimit
from api.openapi import document
from api.path_prefix import PathPrefix
from api.routes import (
    actions,
    answers,
    audit,
    catalog,
    checkpoints,
    curves,
    datasets,
    docs,
    events,
    health,
    jobs,
    keys,
    log,
    metrics,
    points,
    queue,
    run_files,
    runs,
    studies,
    submissions,
    users,
    webhooks,
    workers,
)
from api.server import garbage, parent_death
from api.streams.access import AccessWatch
from api.streams.large_responses import LargeResponses
from api.streams.wakeups import Wakeups
from hsu_jobs import database, log_format, plugin_log
from hsu_jobs import doorbell as doorbell
from hsu_jobs.access import rate_limits
from hsu_jobs.settings import settings, unknown

_log = logging.getLogger(__name__)

DESCRIPTION = """
Train networks with hyperspherical uniformity and read their energy curves.

Every request but the health checks carries `Authorization: Bearer <key>`. Errors are `application/problem+json`
(RFC 9457) with a stable `code`; a bad spec's `errors` point at each field (RFC 6901). NaN and infinities are the
strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
"""


def create_app() -> FastAPI:
    """Make the ASGI app; it connects to nothing before the first request."""
    log_format.set_up(settings())
    for fault in unknown():
        _log.warning(fault)
    plugin_log.report(_log)
    app = FastAPI(
        title="HSU",
        summary="Hyperspherical uniformity as a training service",
        description=DESCRIPTION,
        version="1",
        openapi_tags=document.tags(),
        generate_unique_id_function=document.name_of,
        telemetry=tracing.of_requests(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.wakeups = Wakeups()
    app.state.access_watch = AccessWatch()
    app.state.slots = FairSlots(session.AT_ONCE, most_of_one=session.MOST_OF_ONE)
    app.state.large_responses = LargeResponses()
    app.add_middleware(JsonBody)
    app.add_middleware(BodyLimit, limit=settings().max_body, part_limit=settings().part_bytes)
    etags.install(app)
    app.add_middleware(TimeLimit, limit=settings().request_time)
    cors.allow(app, settings().cors_origins)
    app.add_middleware(Http10Responses)
    app.add_middleware(RequestLog)
    app.add_middleware(PathPrefix, root_path=settings().root_path)
    database.limit_statements(settings().request_time)
    tracing.follow(database.engine())
    problems.install(app)
    document.install(app)
    etags.describe(app)
    for routes in (
        jobs,
        submissions,
        actions,
        curves,
        points,
        answers,
        checkpoints,
        log,
        events,
        run_files,
        runs,
        studies,
        queue,
        workers,
        users,
        keys,
        audit,
        webhooks,
        datasets,
        catalog,
        health,
        metrics,
        docs,
    ):
        app.include_router(routes.router)
    app.webhooks.include_router(webhooks.outgoing)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    wakeups: Wakeups = app.state.wakeups
    access_watch: AccessWatch = app.state.access_watch
    parent_death.end_with_parent()
    garbage.keep_short()
    async with wakeups.listening(), access_watch.watched():
        yield
    doorbell.shared().close()
    key_cache.clear()
    rate_limits.close()
    database.engine().dispose()
