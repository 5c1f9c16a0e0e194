"""What may its owner request of a study? Begin, pause, resume, cancel, extend, retry, enlist, delete.

Every call runs inside the caller's transaction. Jobs that the study queued follow it; those that were there before, and
that it only counts, do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, func, select, text
from sqlalchemy.orm import Session

from hsu_jobs import lifecycle, queries
from hsu_jobs.cluster import quota
from hsu_jobs.datasets import filling
from hsu_jobs.errors import Fault, IllegalMove, SpecRejected, StudyNotEnded
from hsu_jobs.settings import Settings
from hsu_jobs.states import TERMINAL, State, Wanted
from hsu_jobs.studies import metrics, plan, queueing
from hsu_jobs.studies.names import pointer_of
from hsu_jobs.studies.plan import At, Cell
from hsu_jobs.studies.search import asking
from hsu_jobs.studies.spec import MOST_SEEDS, StudySpec
from hsu_jobs.tables import ApiKey, CellRow, Job, MemberRow, Origin, SearchRow, StudyRow, User

OWN = (Origin.QUEUED, Origin.RETRIED)
"""Members whose jobs are the study's own."""
AGAIN = (State.FAILED, State.CANCELLED)
"""States of jobs that `retry` runs again."""


class Changed(NamedTuple):
    """What a request has led to."""

    study: StudyRow
    queued: list[int]
    """The jobs that are new in the queue."""


def checked(session: Session, spec: StudySpec, settings: Settings, *, key: ApiKey) -> tuple[StudySpec, list[Cell]]:
    """A study with the versions of own data sets that it means now, and its cells.

    Raises `SpecRejected` or `Forbidden`, pointing into the study.
    """
    pinned = _pinned(session, spec, key)
    cells = plan.cells(session, pinned, settings, key=key)
    metrics.require(pinned, cells)
    return pinned, cells


def begin(session: Session, spec: StudySpec, settings: Settings, *, key: ApiKey) -> Changed:
    """Make a study and queue its jobs. Raises `SpecRejected`, `Forbidden` or `QuotaExceeded`."""
    pinned, cells = checked(session, spec, settings, key=key)
    study = StudyRow(owner=session.get_one(User, key.user_id), name=spec.name, spec=pinned.model_dump(mode="json"))
    session.add(study)
    session.flush()
    rows = _add_cells(session, study, cells)
    return _with_members(session, study, rows, pinned.all_seeds, settings)


def pause(session: Session, study: StudyRow) -> StudyRow:
    """Keep the study's own jobs from running; running ones first save their state."""
    return _asked_of_each(session, study, Wanted.PAUSE, lifecycle.pause)


def resume(session: Session, study: StudyRow, settings: Settings) -> Changed:
    """Let the study's own jobs run again, and queue what is still to be queued."""
    resumed = _asked_of_each(session, study, Wanted.RUN, lifecycle.resume)
    return Changed(resumed, queueing.advance(session, resumed, settings))


def cancel(session: Session, study: StudyRow) -> StudyRow:
    """Stop the study's own jobs; those that are still to be queued never are, unless the study is resumed."""
    return _asked_of_each(session, study, Wanted.CANCEL, lifecycle.cancel)


def extend(
    session: Session,
    study: StudyRow,
    settings: Settings,
    *,
    key: ApiKey,
    seeds: Sequence[int] | int = (),
    arms: Mapping[str, dict[str, Any]] | None = None,
) -> Changed:
    """Add seeds (which, or how many more) or arms. It is noted, as whoever stops when the numbers please must say so.

    Raises `SpecRejected`, `Forbidden` or `QuotaExceeded`.
    """
    before = StudySpec.model_validate(study.spec)
    new_seeds = _new_seeds(before, seeds)
    spec = _extended(before, new_seeds, arms or {})
    pinned, cells = checked(session, spec, settings, key=key)
    old = list(session.execute(queueing.cells_of(study.id)).scalars())
    new = [cell for cell in cells if cell.arm in (arms or {})]
    study.spec = pinned.model_dump(mode="json")
    study.extensions = [*study.extensions, _note(session, study, new_seeds, list(arms or {}))]
    rows = _add_cells(session, study, new)
    own = [cell for cell in old if cell.spec is not None]
    added = queueing.add_members(session, study, own, new_seeds)
    return _with_members(session, study, rows, pinned.all_seeds, settings, added=added)


def retry(session: Session, study: StudyRow, settings: Settings) -> Changed:
    """Run again what failed or was cancelled, from the last checkpoint. Raises `QuotaExceeded`."""
    failed = session.execute(_members_in(study, AGAIN)).all()
    quota.require_room_for_jobs(session, study.owner_id, len(failed), settings)
    owner = session.get_one(User, study.owner_id)
    study.wanted = Wanted.RUN
    again = []
    for member, job_id in failed:
        job = lifecycle.retry(session, job_id, owner=owner)
        member.is_current = False
        session.flush()  # before its successor: a seed has one current run
        session.add(
            MemberRow(study_id=study.id, cell=member.cell, seed=member.seed, job_id=job.id, origin=Origin.RETRIED)
        )
        again.append(job.id)
    return Changed(study, again + queueing.advance(session, study, settings))


def enlist(session: Session, study: StudyRow, *, key: ApiKey, arm: str, at: At, tag: str) -> int:
    """Count jobs with a tag that have succeeded, also tracked runs, as runs of an arm; returns how many are new.

    An arm that the study has not is added. A run whose seed is taken, or not known, has no pair. Raises `SpecRejected`
    if no job has the tag, or if the arm has no such point.
    """
    tagged = queries.ids_visible_to(key).where(Job.tags.contains([tag]), Job.state == State.SUCCEEDED)
    ids = session.execute(tagged.order_by(Job.id)).scalars().all()
    if not ids:
        raise _refused("/tag", "no_such_jobs", f"no job that you may see has the tag {tag!r} and has succeeded")
    cell = _cell_for(session, study, arm, at)
    members = session.execute(select(MemberRow).where(MemberRow.study_id == study.id, MemberRow.is_current)).scalars()
    there = list(members)
    known, taken = {each.job_id for each in there}, {each.seed for each in there if each.cell == cell}
    new = [job_id for job_id in ids if job_id not in known]
    for job_id in new:
        seed = session.execute(_SEED, {"job": job_id}).scalar_one()
        own = seed if seed not in taken else None
        taken.add(own)
        session.add(MemberRow(study_id=study.id, cell=cell, seed=own, job_id=job_id, origin=Origin.ENLISTED))
    session.flush()
    return len(new)


def forget(session: Session, study: StudyRow) -> None:
    """Delete a study. Its jobs stay. Raises `StudyNotEnded` while one of its own has not ended."""
    left = session.execute(_open_jobs(study)).scalars().all()
    if left:
        raise StudyNotEnded(f"{len(left)} jobs of study {study.id} have not ended: cancel the study first")
    session.execute(delete(StudyRow).where(StudyRow.id == study.id))  # its cells and members go with it


def _pinned(session: Session, spec: StudySpec, key: ApiKey) -> StudySpec:
    """The study, in which each own data set has all of its facts: a version that comes later is another one."""
    parts: dict[str, Any] = {"base": _filled(session, key, spec.base, "/base")}
    arms = spec.arms.items()
    parts["arms"] = {name: _filled(session, key, patch, pointer_of("arms", name)) for name, patch in arms}
    return spec.model_copy(update=parts)


def _filled(session: Session, key: ApiKey, patch: dict[str, Any], where: str) -> Any:
    try:
        return filling.filled(session, key, patch)
    except SpecRejected as error:
        error.faults = tuple(each.model_copy(update={"pointer": where + each.pointer}) for each in error.faults)
        raise


def _add_cells(session: Session, study: StudyRow, cells: Sequence[Cell]) -> list[CellRow]:
    """The rows of cells; if the study searches, they are where searches begin, and have no runs themselves."""
    if StudySpec.model_validate(study.spec).search:
        _add_searches(session, study, cells)
        return []
    first = len(session.execute(queueing.cells_of(study.id)).scalars().all())
    rows = [
        CellRow(
            study_id=study.id,
            number=number,
            arm=cell.arm,
            at=cell.at,
            spec=cell.spec.model_dump(mode="json"),
        )
        for number, cell in enumerate(cells, first)
    ]
    session.add_all(rows)
    session.flush()
    return rows


def _add_searches(session: Session, study: StudyRow, cells: Sequence[Cell]) -> None:
    first = len(session.execute(asking.searches_of(study.id)).scalars().all())
    for number, cell in enumerate(cells, first):
        spec = cell.spec.model_dump(mode="json")
        session.add(SearchRow(study_id=study.id, number=number, arm=cell.arm, at=cell.at, spec=spec))
    session.flush()


def _with_members(
    session: Session,
    study: StudyRow,
    cells: Sequence[CellRow],
    seeds: Sequence[int],
    settings: Settings,
    *,
    added: int = 0,
) -> Changed:
    """The study, with a run of each seed in these cells, and as many jobs queued as may wait.

    `added`: new runs of other cells. Raises `QuotaExceeded`.
    """
    new = added + queueing.add_members(session, study, cells, seeds) + queueing.add_trials(session, study)
    if not StudySpec.model_validate(study.spec).wait:
        quota.require_room_for_jobs(session, study.owner_id, new, settings)
    return Changed(study, queueing.queue_members(session, study, settings))


def _asked_of_each(session: Session, study: StudyRow, wanted: Wanted, ask: Callable[[Session, int], Job]) -> StudyRow:
    study.wanted = wanted
    for job_id in session.execute(_open_jobs(study)).scalars().all():
        with suppress(IllegalMove):  # it has ended meanwhile, or is as it should be
            ask(session, job_id)
    return study


def _open_jobs(study: StudyRow) -> Select[int]:
    """The study's own jobs that have not ended, in the order in which jobs are locked."""
    members = select(Job.id).join(MemberRow, MemberRow.job_id == Job.id)
    own = members.where(MemberRow.study_id == study.id, MemberRow.is_current, MemberRow.origin.in_(OWN))
    return own.where(Job.state.not_in(TERMINAL)).order_by(Job.id)


def _members_in(study: StudyRow, states: Sequence[State]) -> Select[MemberRow, int]:
    members = select(MemberRow, Job.id).join(Job, Job.id == MemberRow.job_id)
    return members.where(MemberRow.study_id == study.id, MemberRow.is_current, Job.state.in_(states)).order_by(Job.id)


def _new_seeds(study: StudySpec, asked: Sequence[int] | int) -> list[int]:
    """Seeds that a study has not. Raises `SpecRejected`."""
    there = study.all_seeds
    first = max(there) + 1
    new = list(range(first, first + asked)) if isinstance(asked, int) else list(dict.fromkeys(asked))
    if repeated := sorted(set(new) & set(there)):
        raise _refused("/seeds", "seed_is_there", f"the study has the seeds {', '.join(map(str, repeated))} already")
    if len(there) + len(new) > MOST_SEEDS:
        raise _refused(
            "/seeds", "too_many_seeds", f"a study may have {MOST_SEEDS:,} seeds, found {len(there) + len(new):,}"
        )
    return new


def _extended(study: StudySpec, seeds: Sequence[int], arms: Mapping[str, dict[str, Any]]) -> StudySpec:
    if repeated := sorted(set(arms) & {*study.arms, plan.baseline_of(study)}):
        raise _refused(pointer_of("arms", repeated[0]), "arm_is_there", f"the study has an arm {repeated[0]} already")
    tree = study.model_dump(mode="json")
    tree |= {"seeds": [*study.all_seeds, *seeds], "arms": {**tree["arms"], **arms}}
    return StudySpec.model_validate(tree)


def _note(session: Session, study: StudyRow, seeds: Sequence[int], arms: Sequence[str]) -> dict[str, Any]:
    """What a report says of an extension."""
    members = select(func.count(), func.count().filter(Job.state == State.SUCCEEDED), func.now())
    among = members.select_from(MemberRow).outerjoin(Job, Job.id == MemberRow.job_id)
    every, ended, now = session.execute(among.where(MemberRow.study_id == study.id, MemberRow.is_current)).one()
    return {"at": now.isoformat(), "seeds": list(seeds), "arms": list(arms), "runs": every, "ended": ended}


def _cell_for(session: Session, study: StudyRow, arm: str, at: At) -> int:
    """The number of a cell of an arm; a new cell of a new arm."""
    rows = list(session.execute(queueing.cells_of(study.id)).scalars())
    of_arm = [row for row in rows if row.arm == arm]
    for row in of_arm:
        if row.at == at:
            return row.number
    if of_arm:
        points = "; ".join(plan.shown(row.at) or "no axis" for row in of_arm)
        raise _refused("/at", "no_such_point", f"the arm {arm} is at: {points}")
    session.add(CellRow(study_id=study.id, number=len(rows), arm=arm, at=at))
    session.flush()
    return len(rows)


_SEED = text("""
SELECT CASE WHEN jsonb_typeof(seed) = 'number' AND seed::text ~ '^[0-9]{1,16}$' THEN seed::text::bigint END
FROM (SELECT coalesce(spec -> 'seed', spec #> '{config,seed}') AS seed FROM jobs WHERE id = :job) AS found
""")
"""The seed of a training, or of a tracked run whose configuration says it."""


def _refused(pointer: str, code: str, detail: str) -> SpecRejected:
    return SpecRejected(detail, faults=(Fault(pointer=pointer, code=code, detail=detail),))
