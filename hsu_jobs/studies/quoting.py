"""What would a study cost, and when would it end? Nothing is queued, and the quote is not binding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.orm import Session

from hsu_jobs.cluster import quotes, waiting
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec
from hsu_jobs.studies import evidence, queueing
from hsu_jobs.studies.plan import Cell
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import ApiKey


class CellQuote(NamedTuple):
    """What a run of a cell would cost."""

    label: str
    total_steps: int
    seconds_per_step: float | None
    """The median of recent jobs with the same network, data, penalty, batch and machine; None if there was none."""
    curve_bytes: int
    """At most."""


class Quote(NamedTuple):
    """What a study would cost."""

    jobs: int
    """Runs in all."""
    reused: int
    """Those for which a job is there already."""
    gpu_seconds: float | None
    """Of the new jobs, without what `evaluate` asks for; None if the pace of a cell is not known."""
    curve_bytes: int
    """Of the new jobs, at most."""
    ends_in: float | None
    """Seconds, if the workers of the pool did nothing else; None if that is not known."""
    cells: list[CellQuote]


def quote(session: Session, study: StudySpec, cells: Sequence[Cell], settings: Settings, *, key: ApiKey) -> Quote:
    """The quote of a study, if it were submitted with this key now."""
    seeds = _runs_of_a_cell(study)
    runs = [cell.spec.model_copy(update={"seed": seed}) for cell in cells for seed in seeds]
    asks = study.reuse and study.search is None  # at which points a search will be is not known
    there = queueing.jobs_like(session, key.user_id, {run.fingerprint for run in runs}) if asks else {}
    new = [run for run in runs if run.fingerprint not in there]
    quoted = [_of_cell(session, cell) for cell in cells]
    paces = [each.seconds_per_step for each in quoted for _ in seeds]
    spent = [_seconds(run, pace) for run, pace in zip(runs, paces, strict=True) if run.fingerprint not in there]
    gpu_seconds = None if None in spent else math.fsum(each for each in spent if each is not None)
    slots = sum(_slots(session, pool, settings) for pool in {run.resources.pool for run in new})
    return Quote(
        jobs=len(runs),
        reused=len(runs) - len(new),
        gpu_seconds=gpu_seconds,
        curve_bytes=sum(map(_curve_bytes, new)),
        ends_in=None if gpu_seconds is None or not (slots or not new) else gpu_seconds / max(1, slots),
        cells=quoted,
    )


def _runs_of_a_cell(study: StudySpec) -> list[int]:
    """The seeds of a cell's runs; in a search, those of all of its trials, at most."""
    return [seed for _ in range(study.search.trials if study.search else 1) for seed in study.all_seeds]


def _of_cell(session: Session, cell: Cell) -> CellQuote:
    costs = cell.spec.costs()
    return CellQuote(
        label=evidence.label_of(cell.arm, cell.at),
        total_steps=cell.spec.total_steps,
        seconds_per_step=quotes.pace(session, cell.spec) if costs else None,
        curve_bytes=_curve_bytes(cell.spec),
    )


def _seconds(spec: JobSpec, pace: float | None) -> float | None:
    return None if pace is None else pace * spec.total_steps * spec.resources.gpus


def _curve_bytes(spec: JobSpec) -> int:
    costs = spec.costs()
    return 8 * costs.values + 16 * costs.reports if costs else 0


def _slots(session: Session, pool: str, settings: Settings) -> int:
    return sum(each.slots for each in waiting.overview(session, settings, pool=pool, limit=0).pools)
