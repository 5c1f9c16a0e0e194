"""Health: is the process alive, and can it work?"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from api.problems import problems
from api.views.jobs import View
from hsu_jobs import database, doorbell
from hsu_jobs.errors import Unavailable

router = APIRouter(tags=["health"])


class Alive(View):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(View):
    """The service can work."""

    database: Literal["ok"] = "ok"
    redis: Literal["ok", "away"]
    """`away` costs only time: the workers then find jobs by their own polling."""


@router.get("/healthz")
def healthz() -> Alive:
    """Whether the process is alive."""
    return Alive()


@router.get("/readyz", responses=problems(Unavailable))
def readyz() -> Ready:
    """Whether the database answers and has the tables that this version needs."""
    with database.transaction() as session:
        found, needed = database.revisions(session)
    if found != needed:
        raise Unavailable(f"the database is at revision {found}, this version needs {needed}: run the migrations")
    return Ready(redis="ok" if doorbell.answers() else "away")
