"""The events of one job become visible in the order of their ids, whoever writes them; on a real Postgres.

A stream of events goes on from the last id that it has sent: a smaller one that came to light later would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from samples import ROOM
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from waiting import until

from hsu_core.outcomes import Saved
from hsu_jobs import attempts, database, event_log, lifecycle, queries
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import claiming, workers
from hsu_jobs.events import Resumed
from hsu_jobs.outcomes import Released
from hsu_jobs.settings import Settings
from hsu_jobs.tables import CheckpointRow, EventRow, Job, User, Worker

Submit = Callable[..., Job]
Later = Callable[[float], None]
Write = Callable[[Session, Claim], object]

SETTINGS = Settings()


def save(session: Session, claim: Claim, step: int = 6) -> None:
    state = Saved(step, Path("unused"), "ab", 3, None, is_best=False)
    attempts.progress(session, claim.token, step=step, saved=[(state, f"unused/{step}")])


def checkpoint(session: Session, claim: Claim) -> CheckpointRow:
    return session.execute(queries.checkpoints_of(claim.job_id)).scalars().first()


WRITERS: dict[str, Write] = {
    "restored": lambda session, claim: attempts.begin(session, claim.token, checkpoint(session, claim)),
    "damaged": lambda session, claim: attempts.note_damage(session, claim.token, checkpoint(session, claim), "torn"),
    "saved": save,
    "skipped": lambda session, claim: attempts.progress(session, claim.token, step=6, skipped={"fc": "is too small"}),
    "ended": lambda session, claim: attempts.settle(session, claim.token, Released(), SETTINGS),
    "stopping: drain": lambda session, claim: workers.drain(session, ROOM.worker, now=True),
    "stopping: preempt": lambda session, claim: claiming.make_room(session, SETTINGS),
    "stopping: deadline": lambda session, claim: lifecycle.expire_overdue(session),
    "prioritised": lambda session, claim: lifecycle.prioritise(session, claim.job_id, -7),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_an_id_that_is_drawn_later_is_seen_later(
    session: Session,
    owner: User,
    submit: Submit,
    later: Later,
    is_anybody_waiting: Callable[[], bool],
    kind: str,
) -> None:
    workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=1)
    job = submit(owner, limits={"deadline": 60})
    session.flush()
    claim = attempts.claim(session, ROOM, SETTINGS)
    save(session, claim, step=3)
    later(61)
    session.get_one(Worker, ROOM.worker).seen_at = func.now()
    submit(owner, priority=5)
    session.commit()

    def write() -> None:
        with database.transaction() as own:
            WRITERS[kind](own, claim)

    with ThreadPoolExecutor(1) as pool:
        session.execute(queries.job_for_update(job.id))
        written = pool.submit(write)
        until(is_anybody_waiting)
        event_log.record(session, job.id, Resumed())
        session.commit()
        written.result(timeout=60)
    events = session.execute(select(EventRow.event).where(EventRow.job_id == job.id).order_by(EventRow.id)).scalars()
    told = [event["kind"] for event in events]
    assert told[-2:] == ["resumed", kind.partition(":")[0]]


def test_asking_several_to_stop_beside_their_ends_waits_in_no_ring(
    session: Session, owner: User, submit: Submit
) -> None:
    """Drains, endings and what owners ask, all at once, again and again: a ring of those who wait would be an error."""
    workers.register(session, ROOM.worker, pool="default", devices=ROOM.free, slots=1)
    jobs = [submit(owner).id for _ in range(6)]
    session.commit()

    def run(_: int) -> None:
        for _ in range(5):
            with database.transaction() as own:
                claim = attempts.claim(own, ROOM, SETTINGS)
            if claim is None:
                continue
            with database.transaction() as own:
                save(own, claim)
            with database.transaction() as own:
                attempts.settle(own, claim.token, Released(), SETTINGS)

    def ask(number: int) -> None:
        for turn in range(10):
            with database.transaction() as own:
                if number:
                    lifecycle.prioritise(own, jobs[turn % len(jobs)], -turn)
                else:
                    workers.drain(own, ROOM.worker, now=True)
            with database.transaction() as own:
                workers.restore(own, ROOM.worker)

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(run, number) for number in range(3)] + [pool.submit(ask, number) for number in (0, 1)]:
            done.result(timeout=120)
