"""A job goes only to a worker that has the plug-ins that it needs, and tells that it waits for one."""

from __future__ import annotations

import numpy as np
import pytest
from claims import GPUS, SETTINGS, Submit, claim, claimed, machine, order
from samples import DIGITS, ROOM
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from hsu_jobs.cluster import claiming, waiting, workers
from hsu_jobs.cluster.claiming import Room
from hsu_jobs.states import State, Wanted
from hsu_jobs.tables import Job, User


def needing(session: Session, job: Job, *plugins: str) -> Job:
    """The job, as if its spec had been read by an API that has these plug-ins."""
    job.plugins = list(plugins)
    session.flush()
    return job


def test_a_job_is_taken_by_a_worker_that_has_all_of_its_plug_ins(session: Session, owner: User, submit: Submit) -> None:
    both = needing(session, submit(owner, priority=9), "lab-losses", "lab-nets")
    one = needing(session, submit(owner, priority=5), "lab-nets")
    none = submit(owner)
    assert claimed(session).job_id == none.id
    assert claim(session) is None
    assert claimed(session, ROOM._replace(plugins=("lab-nets", "others"))).job_id == one.id
    assert claim(session, ROOM._replace(plugins=("lab-nets", "others"))) is None
    assert claimed(session, ROOM._replace(plugins=("lab-losses", "lab-nets"))).job_id == both.id


def test_a_worker_with_plug_ins_keeps_the_order(session: Session, owner: User, submit: Submit) -> None:
    first, last = submit(owner, priority=2), submit(owner, priority=0)
    between = needing(session, submit(owner, priority=1), "lab-nets")
    room = ROOM._replace(plugins=("lab-nets",))
    assert [claimed(session, room).job_id for _ in range(3)] == [first.id, between.id, last.id]


@pytest.mark.new_database  # rows that were deleted are read too, until they are vacuumed
def test_jobs_whose_plug_in_is_missing_cost_a_claim_nothing(session: Session, owner: User, submit: Submit) -> None:
    job = {"name": "x", "tags": [], "spec": DIGITS, "fingerprint": "", "state": State.QUEUED, "wanted": Wanted.RUN}
    job |= {"owner_id": owner.id, "priority": 5}
    missing = [job | {"plugins": [f"gone-{number % 3}"]} for number in range(3000)]
    session.execute(insert(Job), missing)
    one = submit(owner)
    rows = text(
        "SELECT pg_stat_get_xact_tuples_returned('jobs'::regclass), pg_stat_get_xact_tuples_fetched('jobs'::regclass)"
    )
    before = np.array(session.execute(rows).one())
    assert claimed(session).job_id == one.id
    returned, fetched = (np.array(session.execute(rows).one()) - before).tolist()
    assert returned == 0
    assert fetched < 20
    assert order(session) == []


def test_a_job_tells_that_it_waits_for_its_plug_ins(session: Session, owner: User, submit: Submit) -> None:
    job = needing(session, submit(owner), "lab-nets")
    machine(session, "w", gpus=1)

    def report(**plugins: str) -> waiting.Waiting:
        workers.note_readiness(session, "w", datasets=["digits"], lacks=[], plugins=plugins)
        session.expire_all()
        found = waiting.why(session, job, SETTINGS)
        assert found is not None
        (place,) = waiting.overview(session, SETTINGS).places
        assert place.waiting == found
        return found

    reason, detail, *_ = report(others="2.0")
    assert reason == "no_worker_with_plugins"
    assert detail == "no worker of pool 'default' that is there has the plug-ins lab-nets; they have: others"
    assert report(**{"lab-nets": "1.0"}).reason == "next"


def test_no_job_makes_room_for_one_that_could_not_run_there(session: Session, owner: User, submit: Submit) -> None:
    machine(session, "w", gpus=1)
    workers.note_readiness(session, "w", datasets=["digits"], lacks=[], plugins={"others": "1.0"})
    running = submit(owner)
    assert claimed(session, Room("w", "default", GPUS[:1], 1)).job_id == running.id
    needing(session, submit(owner, priority=5), "lab-nets")
    assert claiming.make_room(session, SETTINGS) == []
    workers.note_readiness(session, "w", datasets=["digits"], lacks=[], plugins={"lab-nets": "1.0"})
    session.expire_all()
    assert claiming.make_room(session, SETTINGS) == [running.id]
