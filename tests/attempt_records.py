"""What an attempt measures and saves, and how tests find it in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from hsu_core.outcomes import Saved, Series
from hsu_jobs import attempts, curves
from hsu_jobs.attempts import Claim
from hsu_jobs.curves import Point
from hsu_jobs.outcomes import Crashed
from hsu_jobs.settings import Settings
from hsu_jobs.tables import CheckpointRow, Job

Submit = Callable[..., Job]
Claimed = Callable[[], Claim]
Later = Callable[[float], None]
CRASHED = Crashed(message="SIGSEGV")
LOSS = Series(None, "loss")


def points(*steps: int) -> list[Point]:
    return [Point(step, 0.0, {LOSS: float(step)}) for step in steps]


def saved(step: int, *, is_best: bool = False) -> tuple[Saved, str]:
    return Saved(step, Path("ignored"), sha256="ab", bytes=3, metric=0.5, is_best=is_best), f"1/{step}"


def steps(session: Session, job: Job) -> list[int]:
    """At which steps the loss is known."""
    session.flush()
    return [step for curve in curves.read(session, job.id) for step in curve.steps.tolist()]


def checkpoint(session: Session, job: Job, step: int) -> CheckpointRow:
    session.flush()
    rows = select(CheckpointRow).where(CheckpointRow.job_id == job.id, CheckpointRow.step == step)
    return session.execute(rows).scalar_one()


def again(session: Session, begun: Claim, claimed: Claimed, later: Later) -> UUID:
    """The token of a second attempt."""
    attempts.settle(session, begun.token, CRASHED, Settings())
    later(60)
    return claimed().token
