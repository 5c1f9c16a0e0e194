"""What would a job cost, when would it start, and how long would it take? A quote: nothing is queued.

Knows costs, the current queue, and how fast similar jobs were. A quote is not binding.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Select, TextClause, select, text
from sqlalchemy.orm import Session

from hsu_core.costs import Costs
from hsu_jobs.cluster import waiting
from hsu_jobs.cluster.waiting import Waiting
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec
from hsu_jobs.states import State
from hsu_jobs.tables import ApiKey, Job, Role

MOST_DUPLICATES = 10


class Duplicate(NamedTuple):
    """A job that must give an equal result."""

    id: int
    state: State


class Quote(NamedTuple):
    """What a job would cost, and when it would start."""

    costs: Costs | None
    """None where they are not known before the run: those of points depend on how long each start descends."""
    waiting: Waiting
    seconds_per_step: float | None
    """The median of similar jobs; None if there was none, or if costs are not known."""
    duplicates: list[Duplicate]


def quote(session: Session, spec: JobSpec, settings: Settings, *, key: ApiKey) -> Quote:
    """The quote of this job, if it were submitted with this key now."""
    costs = spec.costs()
    return Quote(
        costs,
        _expected(session, spec, settings, key=key),
        pace(session, spec) if costs else None,
        [Duplicate(*row) for row in session.execute(_same(spec, key))],
    )


def pace(session: Session, spec: JobSpec) -> float | None:
    """Seconds that a step of a training takes: the median of similar jobs; None if there was none."""
    seconds: float | None = session.execute(_PACE, _like(spec)).scalar_one()
    return seconds


def _expected(session: Session, spec: JobSpec, settings: Settings, *, key: ApiKey) -> Waiting:
    """Why the last job of the queue would wait."""
    last = Job(
        id=2**63 - 1,
        owner_id=key.user_id,
        state=State.QUEUED,
        priority=spec.priority,
        pool=spec.resources.pool,
        gpus=spec.resources.gpus,
        dataset=spec.required_dataset.kind if spec.required_dataset else "",
        plugins=sorted(spec.plugins),
        runnable_at=datetime.fromtimestamp(0, UTC),
        spec=spec.model_dump(mode="json"),
    )
    found = waiting.why(session, last, settings)
    assert found is not None
    return found


def _same(spec: JobSpec, key: ApiKey) -> Select[int, State]:
    same = select(Job.id, Job.state).where(Job.fingerprint == spec.fingerprint)
    visible = same if key.role is Role.ADMIN else same.where(Job.owner_id == key.user_id)
    return visible.order_by(Job.id.desc()).limit(MOST_DUPLICATES)


def _like(spec: JobSpec) -> dict[str, object]:
    chosen = spec.model_dump(mode="json")
    return {
        "model": json.dumps(chosen["model"]),
        "dataset": chosen["dataset"]["kind"],
        "regularizer": chosen["regularizer"]["kind"],
        "batch": str(chosen["batch_size"]) if "batch_size" in chosen else None,
        "precision": chosen["precision"],
        "pool": spec.resources.pool,
        "gpus": spec.resources.gpus,
    }


_PACE: TextClause = text("""
WITH recent AS (SELECT result, spec, pool, gpus FROM jobs WHERE state = 'succeeded' ORDER BY id DESC LIMIT 1000),
paces AS (
    SELECT CASE WHEN jsonb_typeof(result -> 'steps_per_second') = 'number'  -- it could be another version's
                 AND (result -> 'steps_per_second')::numeric BETWEEN 1e-300 AND 1e300
           THEN (result ->> 'steps_per_second')::float8 END AS steps FROM recent
    WHERE spec -> 'model' = CAST(:model AS jsonb) AND spec #>> '{dataset,kind}' = :dataset
      AND spec #>> '{regularizer,kind}' = :regularizer
      AND spec ->> 'batch_size' IS NOT DISTINCT FROM CAST(:batch AS text)
      AND spec ->> 'precision' = :precision AND pool = :pool AND gpus = :gpus
)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY 1 / steps) FROM paces WHERE steps > 0 AND steps < 'Infinity'
""")
"""Seconds a step of the last jobs with the same network, data, penalty, batch and machine."""
