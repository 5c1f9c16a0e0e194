"""Which runs of a study are queued now? As many of those that still have no job as its owner may have waiting.

Seed by seed: the pairs of the first seeds are complete long before the last one begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from hsu_jobs import lifecycle, row_failures
from hsu_jobs.cluster import quota
from hsu_jobs.settings import Settings
from hsu_jobs.spec import JobSpec, read
from hsu_jobs.states import State, Wanted
from hsu_jobs.studies.search import asking
from hsu_jobs.studies.spec import StudySpec
from hsu_jobs.tables import CellRow, Job, MemberRow, Origin, StudyRow

MOST_AT_ONCE = 1_000
"""Jobs that one transaction queues."""
MOST_ASKED = 64
"""Trials after which a transaction asks for no more: those whose jobs are there already have ended at once, and others
could begin. At 1,000 trials and 16 fields one question takes half a second."""
LONGEST_NAME = 200


def add_members(session: Session, study: StudyRow, cells: Sequence[CellRow], seeds: Sequence[int]) -> int:
    """Give cells a run for each seed, with the jobs that may stand for it; returns how many must still be queued."""
    spec = StudySpec.model_validate(study.spec)
    wanted = {(cell.number, seed): _spec(study, cell, seed).fingerprint for seed in seeds for cell in cells}
    there = jobs_like(session, study.owner_id, set(wanted.values())) if spec.reuse else {}
    rows = [
        MemberRow(
            study_id=study.id,
            cell=cell,
            seed=seed,
            job_id=there.get(fingerprint),
            origin=Origin.REUSED if fingerprint in there else Origin.QUEUED,
        )
        for (cell, seed), fingerprint in wanted.items()
    ]
    session.add_all(rows)
    session.flush()
    return sum(row.job_id is None for row in rows)


def add_trials(session: Session, study: StudyRow) -> int:
    """Begin the trials whose turn it is, if the study is to run; returns how many runs must still be queued."""
    if study.wanted != Wanted.RUN:
        return 0
    seeds = StudySpec.model_validate(study.spec).all_seeds
    asked, new = 0, 0
    while asked < MOST_ASKED:
        cells = asking.ask(session, study, session.execute(cells_of(study.id)).scalars().all())
        if not cells:
            break
        asked += len(cells)
        new += add_members(session, study, [cell for cell in cells if cell.spec is not None], seeds)
    return new


def advance(session: Session, study: StudyRow, settings: Settings) -> list[int]:
    """Begin the next trials of a study, and queue its next runs as far as there is room; returns the jobs' ids.

    The study is locked, so that no run is queued twice, and no trial is asked twice.
    """
    add_trials(session, study)
    return queue_members(session, study, settings)


def queue_members(session: Session, study: StudyRow, settings: Settings) -> list[int]:
    """Queue the next runs of the cells that are there, if the study is to run, as far as there is room.

    Returns the ids of their jobs.
    """
    is_to_run = study.wanted == Wanted.RUN
    room = min(quota.room_for_jobs(session, study.owner_id, settings), MOST_AT_ONCE) if is_to_run else 0
    open_ones = select(MemberRow).where(
        MemberRow.study_id == study.id, MemberRow.is_current, MemberRow.job_id.is_(None)
    )
    in_order = open_ones.order_by(MemberRow.id).limit(room + 1)
    waiting = session.execute(in_order).scalars().all()
    members = waiting[:room]
    every = session.execute(cells_of(study.id)).scalars().all()
    searches = asking.begun(session, study, every)
    study.waits = len(waiting) > room or any(search.begun < search.budget for search in searches)
    if not members:
        return []
    cells = {cell.number: cell for cell in every}
    specs = [_spec(study, cells[member.cell], member.seed or 0) for member in members]
    queued = lifecycle.submit_all(session, specs, owner_id=study.owner_id)
    for member, job in zip(members, queued, strict=True):
        member.job_id = job.id
    session.flush()
    return [job.id for job in queued]


def advance_all(session: Session, settings: Settings) -> list[int]:
    """Queue what may be queued of every study; returns the ids of the jobs."""
    due = select(StudyRow).where(StudyRow.waits, StudyRow.wanted == Wanted.RUN).order_by(StudyRow.id)
    queued: list[int] = []
    for study in session.execute(due.with_for_update(skip_locked=True)).scalars().all():
        with row_failures.savepoint(session, "studies", f"study {study.id}"):
            queued += advance(session, study, settings)
    return queued


def cells_of(study_id: int) -> Select[CellRow]:
    """The cells of a study, in order."""
    return select(CellRow).where(CellRow.study_id == study_id).order_by(CellRow.number)


def tag_of(study_id: int) -> str:
    """The tag of a study's jobs."""
    return f"study:{study_id}"


def _spec(study: StudyRow, cell: CellRow, seed: int) -> JobSpec:
    """The spec of a cell's job with this seed."""
    whole = read(cell.spec)
    name = f"{study.name[: LONGEST_NAME // 2]}: {cell.arm}, seed {seed}"
    tags = (*whole.tags, tag_of(study.id), f"arm:{cell.arm}")
    return whole.model_copy(update={"seed": seed, "name": name, "tags": tags})


def jobs_like(session: Session, owner_id: int, fingerprints: set[str]) -> dict[str, int]:
    """The newest job of a user with each fingerprint, if it may stand for a new one: rather one that has succeeded.

    A job that continues from another's checkpoint may have had another spec before.
    """
    may_stand = (State.SUCCEEDED, State.RUNNING, State.QUEUED)
    alike = (
        select(Job.fingerprint, Job.id)
        .ext(distinct_on(Job.fingerprint))
        .where(Job.fingerprint.in_(fingerprints), Job.owner_id == owner_id, Job.parent_id.is_(None))
        .where(Job.state.in_(may_stand), Job.wanted == Wanted.RUN)
        .order_by(Job.fingerprint, (Job.state == State.SUCCEEDED).desc(), Job.id.desc())
    )
    return dict(session.execute(alike).all())
