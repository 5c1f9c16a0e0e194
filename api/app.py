"""The web app: routes, problems and limits put together.

    uvicorn --factory api.app:create_app

Knows no torch: what it needs of a spec is torch-free, and a test proves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import deps, problems, unchanged
from api.body_limit import BodyLimit
from api.live import Live
from api.routes import (
    actions,
    catalog,
    checkpoints,
    curves,
    events,
    health,
    jobs,
    log,
    metrics,
    points,
    queue,
    submissions,
    users,
    webhooks,
    workers,
)
from hsu_jobs import database, log_lines
from hsu_jobs import queue as doorbell
from hsu_jobs.settings import settings

DESCRIPTION = """
Train networks with hyperspherical uniformity and read their energy curves.

Every request but the health checks carries `Authorization: Bearer <key>`. Errors are `application/problem+json`
(RFC 9457) with a stable `code`; a bad spec's `errors` point at each field (RFC 6901). NaN and infinities are the
strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
"""


def create_app() -> FastAPI:
    """The ASGI app; nothing connects before the first request."""
    log_lines.set_up(settings())
    app = FastAPI(
        title="HSU",
        summary="Hyperspherical uniformity as a training service",
        description=DESCRIPTION,
        version="1",
        lifespan=_lifespan,
    )
    app.state.live = Live()
    app.state.turns = asyncio.Semaphore(deps.AT_ONCE)
    app.add_middleware(BodyLimit, limit=settings().max_body)
    problems.install(app)
    unchanged.install(app)
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
        catalog,
        health,
        metrics,
    ):
        app.include_router(routes.router)
    app.include_router(webhooks.router)
    app.webhooks.include_router(webhooks.told)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    live: Live = app.state.live
    async with live.listening():
        yield
    doorbell.bell().close()
    database.engine().dispose()
