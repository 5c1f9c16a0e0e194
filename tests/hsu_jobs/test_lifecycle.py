"""What its owner may ask of a job, in every state, on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from samples import DIGITS, ROOM, TRAINED
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hsu_jobs import attempts, lifecycle, queries
from hsu_jobs.artifacts import checkpoints
from hsu_jobs.attempts import Claim, DesiredState
from hsu_jobs.errors import Gone, IllegalMove, NotFound, SpecRejected
from hsu_jobs.outcomes import Cancelled, Crashed, Failed, Paused, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.spec import parse
from hsu_jobs.states import TERMINAL, Action, State, Stop, Wanted, legal
from hsu_jobs.tables import CheckpointRow, EventRow, Job, User

Submit = Callable[..., Job]
Claimed = Callable[[], Claim]
Later = Callable[[float], None]

SETTINGS = Settings()


def kinds(session: Session, job: Job) -> list[str]:
    events = session.execute(select(EventRow.event).where(EventRow.job_id == job.id).order_by(EventRow.id)).scalars()
    return [event["kind"] for event in events]


def saved(session: Session, job: Job, *steps: int, attempt: int = 1) -> list[CheckpointRow]:
    """Checkpoints of a job."""
    rows = [
        CheckpointRow(
            job_id=job.id,
            attempt=attempt,
            step=step,
            path=f"{job.id}/{attempt}/{step}",
            sha256="",
            bytes=1,
            is_best=False,
        )
        for step in steps
    ]
    session.add_all(rows)
    session.flush()
    return rows


def test_jobs_submitted_together_are_queued_in_their_order_and_told_apart(session: Session, owner: User) -> None:
    specs = [parse(DIGITS | {"name": f"seed {seed}", "seed": seed, "tags": ["many"]}) for seed in range(20)]
    queued = lifecycle.submit_all(session, specs, owner_id=owner.id)
    jobs = [session.get_one(Job, each.id) for each in queued]
    assert [job.name for job in jobs] == [spec.name for spec in specs]
    assert [each.id for each in queued] == sorted(each.id for each in queued)
    assert all(
        parse(job.spec) == spec and job.fingerprint == spec.fingerprint for job, spec in zip(jobs, specs, strict=True)
    )
    assert {kind for job in jobs for kind in kinds(session, job)} == {"submitted"}
    assert jobs[0].tags == ["many"]


def test_a_deadline_counts_from_the_submission(session: Session, owner: User) -> None:
    spec = parse(DIGITS | {"limits": {"deadline": 90}})
    (queued,) = lifecycle.submit_all(session, [spec], owner_id=owner.id)
    assert queued.deadline_at == queued.created_at + timedelta(seconds=90)


def test_a_submission_tells_of_jobs_that_must_give_the_same_result(session: Session, owner: User) -> None:
    bob = User(name="bob")
    session.add(bob)
    session.flush()
    spec, other = parse(DIGITS), parse(DIGITS | {"seed": 1})
    made = [lifecycle.submit(session, each, owner=who).id for each, who in ((spec, owner), (other, owner), (spec, bob))]

    def duplicates(**how: bool) -> list[int]:
        (queued,) = lifecycle.submit_all(session, [spec.model_copy(update={"name": "again"})], owner_id=owner.id, **how)
        return queued.duplicates

    first = duplicates()
    assert first == [made[0]]
    assert duplicates(sees_all=True)[-2:] == [made[2], made[0]]


def test_the_waiting_jobs_are_known_oldest_first(session: Session, owner: User, submit: Submit) -> None:
    made = [submit(owner).id for _ in range(3)]
    assert session.execute(queries.runnable_ids(2)).scalars().all() == made[:2]


REACHABLE = [
    (State.QUEUED, Wanted.RUN),
    (State.PAUSED, Wanted.PAUSE),
    *((state, wanted) for state in (State.RUNNING, *TERMINAL) for wanted in Wanted),
]
LEADS_TO = {
    (State.QUEUED, Wanted.RUN, Action.PAUSE): (State.PAUSED, Wanted.PAUSE),
    (State.QUEUED, Wanted.RUN, Action.CANCEL): (State.CANCELLED, Wanted.CANCEL),
    (State.PAUSED, Wanted.PAUSE, Action.RESUME): (State.QUEUED, Wanted.RUN),
    (State.PAUSED, Wanted.PAUSE, Action.CANCEL): (State.CANCELLED, Wanted.CANCEL),
    (State.RUNNING, Wanted.RUN, Action.PAUSE): (State.RUNNING, Wanted.PAUSE),
    (State.RUNNING, Wanted.RUN, Action.CANCEL): (State.RUNNING, Wanted.CANCEL),
    (State.RUNNING, Wanted.PAUSE, Action.RESUME): (State.RUNNING, Wanted.RUN),
    (State.RUNNING, Wanted.PAUSE, Action.CANCEL): (State.RUNNING, Wanted.CANCEL),
}
"""What is not named here and may be asked for leaves the job as it is."""


def ask(session: Session, job: Job, action: Action, *, owner: User) -> None:
    more: dict[Action, dict[str, Any]] = {
        Action.PRIORITISE: {"priority": 3},
        Action.FORK: {"owner": owner},
        Action.RETRY: {"owner": owner},
    }
    getattr(lifecycle, action.value)(session, job.id, **more.get(action, {}))
    session.flush()


@pytest.mark.parametrize("action", Action)
def test_in_every_state_exactly_what_is_legal_may_be_asked_for(
    session: Session, owner: User, submit: Submit, action: Action
) -> None:
    for state, wanted in REACHABLE:
        job = submit(owner)
        saved(session, job, 10)
        session.execute(update(Job).where(Job.id == job.id).values(state=state, wanted=wanted))
        session.refresh(job, ["state", "wanted"])
        if action in legal(state, wanted):
            ask(session, job, action, owner=owner)
            session.refresh(job, ["state", "wanted"])
            assert (job.state, job.wanted) == LEADS_TO.get((state, wanted, action), (state, wanted))
        else:
            possible = ", ".join(sorted(legal(state, wanted)))
            with pytest.raises(
                IllegalMove, match=f"the job is {state}.*{action} is not possible; what is: {possible}$"
            ):
                ask(session, job, action, owner=owner)
            session.refresh(job, ["state", "wanted"])
            assert (job.state, job.wanted) == (state, wanted)


def test_every_move_that_is_expected_is_legal() -> None:
    assert all((state, wanted) in REACHABLE and action in legal(state, wanted) for state, wanted, action in LEADS_TO)


def test_what_is_asked_for_twice_happened_once(session: Session, owner: User, submit: Submit, claimed: Claimed) -> None:
    queued, running = submit(owner), submit(owner, priority=1)
    claimed()
    for asked in (lifecycle.pause, lifecycle.pause, lifecycle.cancel):
        for job in (queued, running):
            asked(session, job.id)
            session.flush()
    lifecycle.cancel(session, running.id)
    assert kinds(session, queued) == ["submitted", "paused", "cancelled"]
    assert kinds(session, running) == ["submitted", "started", "asked", "asked"]


def test_a_queued_job_is_cancelled_at_once(session: Session, owner: User, submit: Submit) -> None:
    job = submit(owner)
    lifecycle.cancel(session, job.id)
    assert job.state is State.CANCELLED
    assert job.finished_at is not None
    assert attempts.claim(session, ROOM, SETTINGS) is None


def test_a_running_job_learns_of_the_wish_and_is_cancelled_when_it_has_stopped(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    claim = claimed()
    assert attempts.progress(session, claim.token, step=3) == DesiredState(Wanted.RUN, None)
    lifecycle.cancel(session, job.id)
    session.flush()
    assert job.state is State.RUNNING
    assert attempts.progress(session, claim.token, step=4) == DesiredState(Wanted.CANCEL, None)
    assert attempts.settle(session, claim.token, Cancelled(), SETTINGS) is State.CANCELLED
    assert kinds(session, job) == ["submitted", "started", "asked", "ended"]


def test_a_job_that_ended_cannot_be_cancelled_and_the_error_says_what_it_is(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    attempts.settle(session, claimed().token, Succeeded(result=TRAINED), SETTINGS)
    with pytest.raises(IllegalMove, match="the job is succeeded: cancel is not possible; what is: fork, retry"):
        lifecycle.cancel(session, job.id)


def test_a_paused_job_is_not_started_until_it_is_resumed(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    lifecycle.pause(session, job.id)
    session.flush()
    assert attempts.claim(session, ROOM, SETTINGS) is None
    lifecycle.resume(session, job.id)
    assert claimed().job_id == job.id
    assert kinds(session, job) == ["submitted", "paused", "resumed", "started"]


def test_a_running_job_is_paused_when_it_has_stopped_and_goes_on_when_resumed(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    claim = claimed()
    lifecycle.pause(session, job.id)
    session.flush()
    wish, _ = attempts.renew(session, claim.token, lease=SETTINGS.lease)
    assert wish.asks_to_stop
    assert attempts.settle(session, claim.token, Paused(), SETTINGS) is State.PAUSED
    lifecycle.resume(session, job.id)
    assert claimed().attempt == 2


def test_a_wish_taken_back_in_time_was_never_there(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    claim = claimed()
    lifecycle.pause(session, job.id)
    lifecycle.resume(session, job.id)
    session.flush()
    assert not attempts.progress(session, claim.token, step=1).asks_to_stop
    assert job.state is State.RUNNING


def test_a_wish_taken_back_too_late_sends_the_job_back_to_the_queue(
    session: Session, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    claim = claimed()
    lifecycle.pause(session, job.id)
    lifecycle.resume(session, job.id)
    session.flush()
    assert attempts.settle(session, claim.token, Paused(), SETTINGS) is State.QUEUED


def test_a_changed_priority_changes_the_order(session: Session, owner: User, submit: Submit, claimed: Claimed) -> None:
    _, second = submit(owner), submit(owner)
    lifecycle.prioritise(session, second.id, 5)
    lifecycle.prioritise(session, second.id, 5)
    assert kinds(session, second) == ["submitted", "prioritised"]
    assert claimed().job_id == second.id


@pytest.mark.parametrize("state", [State.QUEUED, State.PAUSED])
def test_a_waiting_job_past_its_deadline_fails(
    session: Session, owner: User, submit: Submit, later: Later, state: State
) -> None:
    job = submit(owner, limits={"deadline": 60})
    if state is State.PAUSED:
        lifecycle.pause(session, job.id)
    later(59)
    assert lifecycle.expire_overdue(session) == []
    later(2)
    assert lifecycle.expire_overdue(session) == [job.id]
    session.flush()
    assert job.state is State.FAILED
    assert job.failure is not None
    assert job.failure["code"] == "deadline"
    assert kinds(session, job)[-1] == "expired"


def test_a_running_job_past_its_deadline_is_asked_to_stop_once_and_then_fails(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner, limits={"deadline": 60})
    claim = claimed()
    later(61)
    assert lifecycle.expire_overdue(session) == [job.id]
    session.flush()
    assert lifecycle.expire_overdue(session) == []
    assert attempts.progress(session, claim.token, step=1) == DesiredState(Wanted.RUN, Stop.DEADLINE)
    assert attempts.release(session, claim.token, SETTINGS).kind == "overdue"
    assert job.state is State.FAILED
    assert kinds(session, job) == ["submitted", "started", "stopping", "ended"]


def test_a_deadline_counts_from_the_submission_whatever_happened_since(
    session: Session, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner, limits={"deadline": 60})
    later(40)
    attempts.settle(session, claimed().token, Crashed(message="SIGSEGV"), SETTINGS)
    later(21)
    assert lifecycle.expire_overdue(session) == [job.id]
    assert submit(owner).deadline_at is None


def test_a_fork_goes_on_from_the_newest_checkpoint_with_a_changed_spec(
    session: Session, owner: User, submit: Submit
) -> None:
    parent, bob = submit(owner), User(name="bob")
    session.add(bob)
    session.flush()
    saved(session, parent, 10, 20)
    fork = lifecycle.fork(session, parent.id, owner=bob, change={"regularizer": {"kind": "mhs"}})
    assert (fork.parent_id, fork.parent_step, fork.owner) == (parent.id, 20, bob)
    assert fork.spec["regularizer"]["kind"] == "mhs"
    assert fork.spec["model"] == parent.spec["model"]
    assert fork.state is State.QUEUED
    submitted = session.execute(select(EventRow.event).where(EventRow.job_id == fork.id)).scalar_one()
    assert submitted == {"kind": "submitted", "parent": parent.id, "parent_step": 20}
    assert [row.step for row in checkpoints.to_resume_from(session, fork)] == [20]


def test_a_fork_may_go_on_from_an_older_checkpoint(session: Session, owner: User, submit: Submit) -> None:
    parent = submit(owner)
    saved(session, parent, 10, 20)
    assert lifecycle.fork(session, parent.id, owner=owner, step=10).parent_step == 10


def test_a_fork_that_does_not_fit_the_checkpoint_is_refused(session: Session, owner: User, submit: Submit) -> None:
    parent = submit(owner)
    saved(session, parent, 10)
    with pytest.raises(SpecRejected, match="cannot go on from this checkpoint"):
        lifecycle.fork(session, parent.id, owner=owner, change={"model": {"kind": "small_cnn"}})


def test_without_a_checkpoint_there_is_nothing_to_fork_from(session: Session, owner: User, submit: Submit) -> None:
    job = submit(owner)
    with pytest.raises(NotFound, match=f"job {job.id} has no checkpoint to go on from"):
        lifecycle.fork(session, job.id, owner=owner)
    saved(session, job, 10, 20)
    with pytest.raises(NotFound, match="no checkpoint of step 15; there are those of steps 10, 20"):
        lifecycle.fork(session, job.id, owner=owner, step=15)


def test_a_checkpoint_that_was_removed_is_gone_and_the_error_says_which_are_there(
    session: Session, owner: User, submit: Submit
) -> None:
    job = submit(owner)
    first, second, _ = saved(session, job, 10, 20, 30)
    first.removed_at, first.removed_because = func.now(), checkpoints.SUPERSEDED
    checkpoints.note_damage(second)
    session.flush()
    with pytest.raises(Gone, match=r"step 10 was removed \(superseded\); there are those of steps 30$"):
        lifecycle.fork(session, job.id, owner=owner, step=10)
    with pytest.raises(Gone, match=r"step 20 was removed \(damaged\)"):
        lifecycle.fork(session, job.id, owner=owner, step=20)
    assert lifecycle.fork(session, job.id, owner=owner).parent_step == 30


def ended(session: Session, job: Job) -> None:
    session.flush()
    claim = attempts.claim(session, ROOM, SETTINGS)
    assert claim is not None
    assert claim.job_id == job.id
    attempts.settle(session, claim.token, Failed(code="diverged", message="loss at step 3"), SETTINGS)
    session.flush()


def test_a_retry_is_a_job_of_its_own_that_goes_on_from_the_last_checkpoint(
    session: Session, owner: User, submit: Submit
) -> None:
    job = submit(owner)
    ended(session, job)
    saved(session, job, 10, 20)
    again = lifecycle.retry(session, job.id, owner=owner)
    assert (again.parent_id, again.parent_step, again.spec) == (job.id, 20, job.spec)
    assert job.state is State.FAILED


def test_a_retry_without_a_checkpoint_begins_at_the_start(session: Session, owner: User, submit: Submit) -> None:
    job = submit(owner)
    ended(session, job)
    again = lifecycle.retry(session, job.id, owner=owner)
    assert (again.parent_id, again.parent_step, again.fingerprint) == (None, None, job.fingerprint)


def test_a_retry_of_a_fork_that_saved_nothing_goes_on_where_the_fork_did(
    session: Session, owner: User, submit: Submit
) -> None:
    parent = submit(owner)
    ended(session, parent)
    saved(session, parent, 10, 20)
    fork = lifecycle.fork(session, parent.id, owner=owner, step=10)
    ended(session, fork)
    again = lifecycle.retry(session, fork.id, owner=owner)
    assert (again.parent_id, again.parent_step) == (parent.id, 10)


def test_a_retry_of_a_fork_whose_checkpoint_is_gone_is_refused(session: Session, owner: User, submit: Submit) -> None:
    parent = submit(owner)
    ended(session, parent)
    saved(session, parent, 10, 20)
    fork = lifecycle.fork(session, parent.id, owner=owner, step=10)
    ended(session, fork)
    for row in checkpoints.to_resume_from(session, fork):
        checkpoints.note_damage(row)
    with pytest.raises(Gone, match="there are those of steps 20"):
        lifecycle.retry(session, fork.id, owner=owner)
