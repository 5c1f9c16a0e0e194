"""Which machines are there, and which of them may take jobs."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from samples import ROOM, TRAINED
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from waiting import until

from hsu_jobs import attempts, database, queries
from hsu_jobs.attempts import Claim, DesiredState
from hsu_jobs.cluster import workers
from hsu_jobs.errors import NameTaken, NotFound
from hsu_jobs.outcomes import Crashed, Faulty, Lost, Outcome, Released, Succeeded
from hsu_jobs.settings import Settings
from hsu_jobs.states import State, Stop, Wanted
from hsu_jobs.tables import Duty, EventRow, Job, User, Worker

Submit = Callable[..., Job]
Claimed = Callable[[], Claim]
Later = Callable[[float], None]

SETTINGS = Settings()
MINE, OTHER = uuid.uuid4(), uuid.uuid4()
HAS: workers.Equipment = {"pool": "default", "devices": ROOM.free, "slots": 1}
LARGE: workers.Equipment = {"pool": "large", "devices": ("cuda:0", "cuda:1"), "slots": 4}
FAULT = Faulty(message="CUDA error: uncorrectable ECC error encountered")


@pytest.fixture
def worker(session: Session) -> Worker:
    workers.join(session, ROOM.worker, MINE, is_free=True, silence=SETTINGS.lease, **HAS)
    return session.get_one(Worker, ROOM.worker)


def serving(session: Session) -> list[str]:
    session.flush()
    return [worker.name for worker in session.execute(queries.serving_workers(SETTINGS.lease)).scalars()]


def test_a_worker_that_comes_again_tells_what_it_has_now(session: Session, worker: Worker) -> None:
    workers.register(session, worker.name, pool="large", devices=["cuda:0", "cuda:1"], slots=4)
    session.refresh(worker)
    assert (worker.pool, worker.devices, worker.slots, worker.duty) == ("large", ["cuda:0", "cuda:1"], 4, Duty.ACTIVE)
    assert session.execute(select(func.count()).select_from(Worker)).scalar_one() == 1


@pytest.mark.parametrize("duty", [Duty.DRAINING, Duty.EXCLUDED])
def test_a_worker_off_duty_stays_so_when_it_comes_again(session: Session, worker: Worker, duty: Duty) -> None:
    worker.duty = duty
    session.flush()
    workers.register(session, worker.name, pool="default", devices=["cpu:0"], slots=1)
    session.refresh(worker)
    assert worker.duty is duty


def test_a_worker_that_was_not_heard_of_for_a_lease_counts_as_gone_until_it_is(
    session: Session, worker: Worker, later: Later
) -> None:
    assert serving(session) == [worker.name]
    later(SETTINGS.lease.total_seconds() + 1)
    assert serving(session) == []
    assert workers.heartbeat(session, worker.name, MINE, **HAS)
    assert serving(session) == [worker.name]


def test_a_second_process_under_a_live_workers_name_is_refused_and_changes_nothing(
    session: Session, worker: Worker
) -> None:
    with pytest.raises(NameTaken, match=r"another live process is worker w .*HSU_WORKER_NAME"):
        workers.join(session, worker.name, OTHER, is_free=False, silence=SETTINGS.lease, **LARGE)
    session.refresh(worker)
    assert (worker.identity, worker.pool, worker.devices, worker.slots) == (MINE, "default", ["cpu:0"], 1)


def test_a_name_whose_lock_is_free_is_taken_over_at_once(session: Session, worker: Worker) -> None:
    workers.join(session, worker.name, OTHER, is_free=True, silence=SETTINGS.lease, **LARGE)
    session.refresh(worker)
    assert (worker.identity, worker.pool, worker.slots) == (OTHER, "large", 4)


def test_a_process_that_fell_silent_loses_its_name_although_its_connection_lingers(
    session: Session, worker: Worker, later: Later
) -> None:
    later(SETTINGS.lease.total_seconds() + 1)
    workers.join(session, worker.name, OTHER, is_free=False, silence=SETTINGS.lease, **LARGE)
    assert not workers.heartbeat(session, worker.name, MINE, **HAS)
    session.refresh(worker)
    assert (worker.identity, worker.pool) == (OTHER, "large")


def test_a_heartbeat_repeats_what_the_worker_has(session: Session, worker: Worker) -> None:
    worker.pool, worker.devices, worker.slots = "elsewhere", [], 0
    session.flush()
    assert workers.heartbeat(session, worker.name, MINE, **LARGE)
    session.refresh(worker)
    assert (worker.pool, worker.devices, worker.slots) == ("large", ["cuda:0", "cuda:1"], 4)


def test_a_process_whose_name_is_anothers_starts_nothing(
    session: Session, worker: Worker, owner: User, submit: Submit
) -> None:
    submit(owner)
    session.flush()
    assert attempts.claim(session, ROOM._replace(identity=OTHER), SETTINGS) is None
    assert attempts.claim(session, ROOM._replace(identity=MINE), SETTINGS) is not None


def test_more_slots_than_a_small_number_holds_can_be_told(session: Session) -> None:
    workers.register(session, "large", pool="default", devices=["cpu:0"], slots=2**15)
    assert session.get_one(Worker, "large").slots == 2**15


def test_a_drained_worker_ends_what_it_runs_and_takes_nothing_new(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed
) -> None:
    submit(owner)
    claim = claimed()
    submit(owner)
    workers.drain(session, worker.name)
    session.flush()
    assert attempts.progress(session, claim.token, step=1) == DesiredState(Wanted.RUN, None)
    assert attempts.claim(session, ROOM, SETTINGS) is None
    assert serving(session) == []
    workers.restore(session, worker.name)
    session.flush()
    assert attempts.claim(session, ROOM, SETTINGS) is not None


def test_a_worker_that_is_drained_now_lets_go_of_what_it_runs(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed
) -> None:
    job = submit(owner)
    claim = claimed()
    workers.drain(session, worker.name, now=True)
    session.flush()
    assert attempts.progress(session, claim.token, step=1) == DesiredState(Wanted.RUN, Stop.DRAIN)
    event = session.execute(select(EventRow.event).order_by(EventRow.id.desc())).scalars().first()
    assert event == {"kind": "stopping", "attempt": 1, "why": "drain"}
    assert isinstance(attempts.release(session, claim.token, SETTINGS), Released)
    assert job.state is State.QUEUED
    assert job.strikes == 0


def test_a_worker_may_be_drained_while_what_it_runs_is_being_ended(
    session: Session,
    worker: Worker,
    owner: User,
    submit: Submit,
    claimed: Claimed,
    is_anybody_waiting: Callable[[], bool],
) -> None:
    submit(owner)
    claim = claimed()
    session.commit()

    def drain() -> None:
        with database.transaction() as own:
            workers.drain(own, ROOM.worker, now=True)

    with ThreadPoolExecutor(1) as pool:
        session.execute(queries.live_attempt(claim.token))
        drained = pool.submit(drain)
        until(is_anybody_waiting)
        attempts.settle(session, claim.token, Succeeded(result=TRAINED), SETTINGS)
        session.commit()
        drained.result(timeout=60)
    session.refresh(worker)
    assert worker.duty is Duty.DRAINING


def test_a_worker_that_nobody_knows_is_named_with_those_that_there_are(session: Session) -> None:
    with pytest.raises(NotFound, match="there is no worker 'x'; there are: none"):
        workers.drain(session, "x")
    for name in ("b", "a"):
        workers.register(session, name, pool="default", devices=["cpu:0"], slots=1)
    with pytest.raises(NotFound, match="there is no worker 'x'; there are: a, b"):
        workers.restore(session, "x")


def endure(session: Session, submit: Submit, owner: User, claimed: Claimed, outcome: Outcome) -> None:
    """One attempt on the worker that ends so, of a job of its own."""
    submit(owner, limits={"max_attempts": 1})
    attempts.settle(session, claimed().token, outcome, SETTINGS)
    session.flush()


def test_a_worker_whose_hardware_failed_three_times_in_a_row_is_excluded(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed
) -> None:
    for faults in (1, 2, 3):
        assert worker.duty is Duty.ACTIVE
        endure(session, submit, owner, claimed, FAULT)
        assert worker.faults == faults
    assert worker.duty is Duty.EXCLUDED
    submit(owner)
    session.flush()
    assert attempts.claim(session, ROOM, SETTINGS) is None
    workers.restore(session, worker.name)
    session.flush()
    assert (worker.duty, worker.faults) == (Duty.ACTIVE, 0)


def test_a_success_between_two_faults_clears_the_worker(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed
) -> None:
    for outcome in (FAULT, FAULT, Succeeded(result=TRAINED), FAULT, FAULT):
        endure(session, submit, owner, claimed, outcome)
    assert (worker.duty, worker.faults) == (Duty.ACTIVE, 2)


@pytest.mark.parametrize("outcome", [Crashed(message="SIGSEGV"), Lost(), Released()], ids=lambda outcome: outcome.kind)
def test_what_is_not_the_hardwares_neither_counts_nor_clears(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed, outcome: Outcome
) -> None:
    endure(session, submit, owner, claimed, FAULT)
    endure(session, submit, owner, claimed, outcome)
    assert worker.faults == 1


def test_a_worker_that_is_being_drained_is_not_excluded_on_top(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed
) -> None:
    worker.faults = 2
    submit(owner)
    claim = claimed()
    workers.drain(session, worker.name)
    session.flush()
    attempts.settle(session, claim.token, FAULT, SETTINGS)
    session.flush()
    assert (worker.duty, worker.faults) == (Duty.DRAINING, 3)


def test_a_job_that_met_a_fault_is_tried_elsewhere(
    session: Session, worker: Worker, owner: User, submit: Submit, claimed: Claimed, later: Later
) -> None:
    job = submit(owner)
    worker.faults = 2
    attempts.settle(session, claimed().token, FAULT, SETTINGS)
    later(60)
    assert job.state is State.QUEUED
    assert attempts.claim(session, ROOM, SETTINGS) is None
    assert attempts.claim(session, ROOM._replace(worker="other"), SETTINGS) is not None
