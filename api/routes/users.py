"""Users: their share of the cluster, their limits, and what they used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, orm

from api.dependencies import key_cache
from api.dependencies.auth import Admin, Viewer
from api.dependencies.session import Session
from api.problems import problems
from api.views.each_row import shown
from api.views.jobs import View
from hsu_core.spec.values import WHOLE, Real
from hsu_jobs import database, queries
from hsu_jobs.cluster import fair_share
from hsu_jobs.errors import BadRequest, Forbidden, NotFound, SpecRejected, Unauthorized
from hsu_jobs.names import LONGEST_STORED
from hsu_jobs.settings import settings
from hsu_jobs.tables import Role, User

router = APIRouter(prefix="/v1/users", tags=["cluster"])

Share = Annotated[Real, Field(gt=0, le=1e6, allow_inf_nan=False)]
Quota = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]


class UserView(View):
    """A person who submits jobs."""

    name: str
    share: float
    """The share of the cluster, relative to the other users' shares."""
    max_gpus: int | None
    """GPUs that may be in use at once; no limit if null."""
    max_waiting: int | None
    """Jobs that may be queued or paused at once; `HSU_MAX_WAITING` if null."""
    gpus: int
    """GPUs in use now."""
    usage: float
    """GPU seconds that count for the order of users: they count half after each `HSU_USAGE_HALF_LIFE`."""


class UsersView(View):
    """Users by name."""

    users: list[UserView]


class UserChange(BaseModel):
    """What is to be changed; omitted fields stay."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"share": 2, "max_gpus": 4}]}
    )

    share: Share = 1.0
    """The share of the cluster, relative to the other users' shares."""
    max_gpus: Quota | None = None
    """GPUs that may be in use at once; null removes the limit. Running jobs continue."""
    max_waiting: Quota | None = None
    """Jobs that may be queued or paused at once; null: the general limit, `HSU_MAX_WAITING`. Waiting jobs stay."""


@router.get("", responses=problems(Unauthorized))
def list_users(key: Viewer, session: Session) -> UsersView:
    """All users for an admin; for other callers only themselves."""
    every = _users(session)
    return UsersView(users=[user for user in every if key.role is Role.ADMIN or user.name == key.user.name])


@router.patch("/{name:path}", responses=problems(BadRequest, Unauthorized, Forbidden, NotFound, SpecRejected))
def change_user(
    name: Annotated[str, Path(min_length=1, max_length=LONGEST_STORED)],
    change: UserChange,
    _key: Admin,
    session: Session,
) -> UserView:
    """Change a user's share of the cluster or their quota, from the next claim on."""
    user = session.execute(queries.user_by_name(name)).scalar_one_or_none()
    if user is None:
        raise NotFound(f"there is no user {name!r}: a user comes into being with their first API key")
    database.after_commit(session, key_cache.clear)
    for field in change.model_fields_set:
        setattr(user, field, getattr(change, field))
    session.flush()
    return next(each for each in _users(session) if each.name == name)


def _users(session: orm.Session) -> list[UserView]:
    columns = ("name", "share", "max_gpus", "max_waiting", "gpus")
    rows = session.execute(fair_share.users_with_usage(settings().usage_half_life))

    def view(row: Row[User, float]) -> UserView:
        user, usage = row
        return UserView(**{name: getattr(user, name) for name in columns}, usage=usage)

    return shown("list of users", rows, view)
