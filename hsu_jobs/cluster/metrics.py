"""How is the cluster doing, in numbers? Read from the database, so that every API process reports the same.

Knows what is counted. Knows nothing of Prometheus, whose format is in `api/routes/metrics.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Double, Select, case, func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from hsu_jobs import row_failures
from hsu_jobs.queries import IS_RUNNABLE
from hsu_jobs.tables import Attempt, Duty, Job, RowFailure, User, Worker


class Gauge(NamedTuple):
    """A quantity, and its value for each set of labels."""

    name: str
    about: str
    labels: tuple[str, ...]
    values: list[tuple[tuple[str, ...], float]]
    is_counter: bool = False


def read(session: Session) -> Iterator[Gauge]:
    """Every quantity, as it is now; one that cannot be read is left out, and counted as a failure."""
    for name, about, labels, question in _QUESTIONS:
        values = []
        with row_failures.alone("metrics", name):
            rows = session.execute(question).all()
            values = [(tuple(str(label) for label in row[:-1]), float(row[-1] or 0)) for row in rows]
        yield Gauge(name, about, labels, values, is_counter=name.endswith("_total"))


def _age(moment: InstrumentedAttribute[datetime]) -> ColumnElement[float]:
    return func.extract("epoch", func.now() - moment).cast(Double)


_live = Attempt.ended_at.is_(None)
_kind = Attempt.outcome["kind"].astext
_waited = func.extract("epoch", Attempt.started_at - Job.runnable_at).cast(Double)
_lately = Attempt.started_at > func.now() - literal_column("interval '1 hour'")

_QUESTIONS: list[tuple[str, str, tuple[str, ...], Select[*tuple[Any, ...]]]] = [
    (
        "hsu_jobs_queued",
        "Jobs that wait for a place.",
        ("pool",),
        select(Job.pool, func.count()).where(IS_RUNNABLE).group_by(Job.pool),
    ),
    (
        "hsu_longest_wait_seconds",
        "Since when the job waits that has waited longest.",
        ("pool",),
        select(Job.pool, func.greatest(func.max(_age(Job.runnable_at)), 0)).where(IS_RUNNABLE).group_by(Job.pool),
    ),
    (
        "hsu_wait_seconds_mean",
        "Mean wait of the attempts that started in the last hour.",
        ("pool",),
        select(Job.pool, func.avg(func.greatest(_waited, 0))).join(Attempt).where(_lately).group_by(Job.pool),
    ),
    (
        "hsu_attempts_running",
        "Attempts under way.",
        ("worker",),
        select(Attempt.worker, func.count()).where(_live).group_by(Attempt.worker),
    ),
    (
        "hsu_attempts_total",
        "Attempts that ended, by outcome.",
        ("outcome",),
        select(_kind, func.count()).where(~_live).group_by(_kind),
    ),
    (
        "hsu_heartbeat_age_seconds",
        "Time since a worker was last heard of.",
        ("worker", "pool", "duty"),
        select(Worker.name, Worker.pool, Worker.duty, _age(Worker.seen_at)),
    ),
    (
        "hsu_gpus",
        "Slots of the workers that take jobs.",
        ("pool",),
        select(Worker.pool, func.sum(case((Worker.duty == Duty.ACTIVE, Worker.slots), else_=0))).group_by(Worker.pool),
    ),
    (
        "hsu_gpus_in_use",
        "GPUs in use.",
        ("user",),
        select(User.name, User.gpus),
    ),
    (
        "hsu_gpu_seconds_total",
        "GPU time used by attempts that ended.",
        ("pool",),
        select(
            Job.pool,
            func.sum(func.extract("epoch", Attempt.ended_at - Attempt.started_at).cast(Double) * Attempt.gpus),
        )
        .join(Attempt)
        .where(~_live)
        .group_by(Job.pool),
    ),
    (
        "hsu_row_failures_total",
        "Rows that a loop over many could not process, and skipped.",
        ("loop",),
        select(RowFailure.loop, RowFailure.failures),
    ),
]
