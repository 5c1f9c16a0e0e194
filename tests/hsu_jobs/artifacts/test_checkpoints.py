"""Which checkpoints are kept, and from which a job goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hsu_core import spec
from hsu_jobs import lifecycle
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.artifacts.checkpoints import DAMAGED, SUPERSEDED
from hsu_jobs.tables import CheckpointRow, Job, User

Submit = Callable[..., Job]


@pytest.fixture
def job(owner: User, submit: Submit) -> Job:
    return submit(owner)


def saved(session: Session, job: Job, *steps: int, attempt: int = 1, best: tuple[int, ...] = ()) -> None:
    for step in steps:
        path = f"{job.id}/{attempt}/{step}"
        row = CheckpointRow(
            job_id=job.id, attempt=attempt, step=step, path=path, sha256="", bytes=1, is_best=step in best
        )
        session.add(row)
    session.flush()


def kept(session: Session, job: Job) -> list[int]:
    """The steps, newest first."""
    session.flush()
    return [row.step for row in checkpoints.to_resume_from(session, job)]


def tidied(session: Session, job: Job, **policy: object) -> list[str]:
    return checkpoints.give_up_surplus(session, job.id, spec.Checkpoint.model_validate(policy))


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_the_last_ones_are_kept_and_the_files_of_the_others_told(session: Session, job: Job, count: int) -> None:
    saved(session, job, 10, 20, 30, 40)
    removed = tidied(session, job, keep_last=count)
    assert kept(session, job) == [40, 30, 20, 10][:count]
    assert removed == [f"{job.id}/1/{step}" for step in [40, 30, 20, 10][count:]]
    assert tidied(session, job, keep_last=count) == []
    assert checkpoints.paths(session, job.id) == {f"{job.id}/1/{step}" for step in [40, 30, 20, 10][:count]}
    why = select(CheckpointRow.removed_because).where(CheckpointRow.removed_at.is_not(None))
    assert set(session.execute(why).scalars()) <= {SUPERSEDED}


def test_the_best_one_is_kept_if_the_policy_says_so(session: Session, job: Job) -> None:
    saved(session, job, 10, 20, 30, 40, best=(10, 20))
    tidied(session, job, keep_last=1, keep_best=True)
    assert kept(session, job) == [40, 20]
    tidied(session, job, keep_last=1)
    assert kept(session, job) == [40]


def test_what_an_unfinished_fork_goes_on_from_is_kept_until_the_fork_has_ended(
    session: Session, job: Job, owner: User
) -> None:
    saved(session, job, 10, 20, 30)
    fork = lifecycle.fork(session, job.id, owner=owner, step=10)
    session.flush()
    assert tidied(session, job, keep_last=1) == [f"{job.id}/1/20"]
    assert kept(session, job) == [30, 10]
    lifecycle.cancel(session, fork.id)
    session.flush()
    assert tidied(session, job, keep_last=1) == [f"{job.id}/1/10"]


def test_what_an_unfinished_job_starts_from_is_kept_until_it_has_ended(
    session: Session, job: Job, owner: User, submit: Callable[..., Job]
) -> None:
    saved(session, job, 10, 20, 30)
    other = submit(owner, initial={"kind": "job", "job": job.id, "step": 20})
    submit(owner, initial={"kind": "job", "job": job.id + 1000, "step": 10})
    session.flush()
    assert tidied(session, job, keep_last=1) == [f"{job.id}/1/10"]
    assert kept(session, job) == [30, 20]
    lifecycle.cancel(session, other.id)
    session.flush()
    assert tidied(session, job, keep_last=1) == [f"{job.id}/1/20"]


def test_a_job_goes_on_from_its_own_newest_and_at_last_from_its_parents(
    session: Session, job: Job, owner: User
) -> None:
    saved(session, job, 10, 20, 30)
    fork = lifecycle.fork(session, job.id, owner=owner, step=20)
    saved(session, fork, 25, 35)
    assert kept(session, fork) == [35, 25, 20]


def test_of_one_step_the_last_attempts_checkpoint_goes_first(session: Session, job: Job) -> None:
    saved(session, job, 10, attempt=1)
    saved(session, job, 10, attempt=2)
    assert [row.attempt for row in checkpoints.to_resume_from(session, job)] == [2, 1]


def test_a_damaged_one_is_never_gone_on_from_again(session: Session, job: Job) -> None:
    saved(session, job, 10, 20)
    newest = checkpoints.at(session, job, None)
    checkpoints.note_damage(newest)
    assert kept(session, job) == [10]
    session.refresh(newest)
    assert newest.removed_because == DAMAGED
    assert checkpoints.at(session, job, None).step == 10


def test_what_lies_after_a_step_is_forgotten_but_not_what_was_removed(session: Session, job: Job) -> None:
    saved(session, job, 10, 20, 30, 40)
    checkpoints.note_damage(checkpoints.at(session, job, 40))
    session.flush()
    checkpoints.forget_after(session, job.id, 20)
    assert kept(session, job) == [20, 10]
    assert session.execute(select(func.count()).select_from(CheckpointRow)).scalar_one() == 3


def test_every_file_that_a_row_names_as_kept_stays(session: Session, job: Job) -> None:
    saved(session, job, 10, 20)
    checkpoints.note_damage(checkpoints.at(session, job, 20))
    session.flush()
    assert checkpoints.paths(session, job.id) == {f"{job.id}/1/10"}
