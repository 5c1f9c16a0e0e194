"""How much of the cluster has a user used? GPU seconds that decay, so that last month's use hardly counts.

While g GPUs are in use, usage u obeys du/dt = g − λu with λ = ln 2 / half-life. Its closed form is the database's
function `usage_now`, so it is stored only when g changes. The user with the least usage divided by share is next.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Select, Update, func, select, update

from hsu_jobs.tables import User


def usage_now(half_life: timedelta) -> ColumnElement[float]:
    """A user's current usage, in GPU seconds."""
    return func.usage_now(User.usage, User.gpus, User.usage_at, half_life.total_seconds())


def users_with_usage(half_life: timedelta) -> Select[User, float]:
    """The users with their current usage, by name."""
    return select(User, usage_now(half_life)).order_by(User.name)


def give_back(user_id: int, *, gpus: int, half_life: timedelta) -> Update:
    """Record that the user holds so many GPUs fewer from now on."""
    now = {User.usage: usage_now(half_life), User.usage_at: func.now(), User.gpus: User.gpus - gpus}
    return update(User).where(User.id == user_id).values(now).execution_options(synchronize_session=False)
