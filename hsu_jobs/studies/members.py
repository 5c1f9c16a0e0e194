"""Which runs are the members of a study, how far are they, and what have they cost?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from hsu_jobs.states import TERMINAL, State, Wanted
from hsu_jobs.tables import Origin

UNQUEUED = "unqueued"
"""In place of a state: the run has no job yet."""


class Member(NamedTuple):
    """A run of a cell, and the job that does it."""

    id: int
    cell: int
    seed: int | None
    job_id: int | None
    origin: Origin | str
    is_current: bool
    """False for one that was run again."""
    state: State | str
    """Of its job; `unqueued` without one."""
    fingerprint: str | None
    failure: dict[str, Any] | None
    result: dict[str, Any] | None
    from_curves: dict[str, Any] | None
    """Numbers that were read from its curves when it had succeeded."""
    gpu_seconds: float
    """Of all of its attempts until now."""

    @property
    def has_succeeded(self) -> bool:
        """Whether it has a result."""
        return self.state == State.SUCCEEDED


class Progress(NamedTuple):
    """How far a study is."""

    states: dict[str, int]
    """How many runs are in each state."""
    gpu_seconds: float
    """Of all runs, also of those that were run again."""
    gpu_seconds_left: float | None
    """Expected, from the mean of the runs of the same cell, or of all, that have succeeded; None before the first."""


def of(session: Session, study_id: int) -> list[Member]:
    """All members, cell by cell, in the order in which they were added."""
    return [Member(*row) for row in session.execute(_MEMBERS, {"study": study_id})]


def have_ended(members: Sequence[Member], *, wanted: Wanted | str) -> bool:
    """Whether no run of a study will change any more."""
    still = [member.state for member in members if member.is_current and member.state not in TERMINAL]
    return not still or (wanted == Wanted.CANCEL and all(state == UNQUEUED for state in still))


def progress(members: Sequence[Member], *, unasked: int = 0) -> Progress:
    """How far these members are; `unasked`: runs of trials that have not begun."""
    current = [member for member in members if member.is_current]
    states: dict[str, int] = {}
    for member in current:
        states[str(member.state)] = states.get(str(member.state), 0) + 1
    return Progress(states, sum(member.gpu_seconds for member in members), _left(current, unasked))


def _left(members: Sequence[Member], unasked: int) -> float | None:
    done = [member for member in members if member.has_succeeded]
    if not done:
        return None
    of_all = _mean(member.gpu_seconds for member in done)
    by_cell = {
        cell: _mean(member.gpu_seconds for member in done if member.cell == cell)
        for cell in {member.cell for member in done}
    }
    open_ones = [member for member in members if member.state in _OPEN]
    return (
        sum(max(0.0, by_cell.get(member.cell, of_all) - member.gpu_seconds) for member in open_ones) + unasked * of_all
    )


_OPEN = (UNQUEUED, State.QUEUED, State.RUNNING, State.PAUSED)


def _mean(numbers: Iterable[float]) -> float:
    every = list(numbers)
    return sum(every) / len(every)


_MEMBERS = text("""
SELECT member.id, member.cell, member.seed, member.job_id, member.origin, member.is_current,
       coalesce(jobs.state, 'unqueued'), jobs.fingerprint, jobs.failure, jobs.result, member.values,
       coalesce((
           SELECT sum(attempts.gpus * extract(epoch FROM coalesce(ended_at, now()) - attempts.started_at))::float8
           FROM attempts WHERE attempts.job_id = jobs.id
       ), 0)
FROM study_members AS member LEFT JOIN jobs ON jobs.id = member.job_id
WHERE member.study_id = :study ORDER BY member.cell, member.id
""")
