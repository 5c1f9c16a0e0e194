"""How much of the cluster has somebody used? GPU seconds that fade, so that nobody pays for last month.

While g GPUs are in use, usage u obeys du/dt = g − λu with λ = ln 2 / half-life. Its closed form is the database's
function `usage_now`, so it is written down only when g changes. Users take turns by usage divided by share.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Select, Update, func, select, update

from hsu_jobs.tables import User


def usage_now(half_life: timedelta) -> ColumnElement[float]:
    """A user's usage at this moment, in GPU seconds."""
    return func.usage_now(User.usage, User.gpus, User.usage_at, half_life.total_seconds())


def users_with_usage(half_life: timedelta) -> Select[User, float]:
    """The users with their usage at this moment, by name."""
    return select(User, usage_now(half_life)).order_by(User.name)


def give_back(user_id: int, *, gpus: int, half_life: timedelta) -> Update:
    """From now on the user holds so many GPUs fewer."""
    now = {User.usage: usage_now(half_life), User.usage_at: func.now(), User.gpus: User.gpus - gpus}
    return update(User).where(User.id == user_id).values(now).execution_options(synchronize_session=False)
