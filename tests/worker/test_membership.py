"""Which process is the worker of a name, over a real database and real connections."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, text, update
from waiting import until

from embedded.up import commands
from hsu_jobs import database
from hsu_jobs.errors import NameTaken
from hsu_jobs.settings import Settings
from hsu_jobs.tables import Worker
from worker.devices import Devices
from worker.membership import Membership

LOCKS = "locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
"""Those of this test's own database."""
CPU = Devices(["cpu:0"], slots_each=1)
GPUS = Devices(["cuda:0", "cuda:1"], slots_each=2)


def row() -> Worker:
    with database.transaction() as session:
        return session.get_one(Worker, "box")


@pytest.fixture
def patient(fast: Settings) -> Settings:
    """Settings with a lease that lasts however busy the machine is."""
    return fast.model_copy(update={"lease": timedelta(hours=1)})


@pytest.fixture
def first(patient: Settings) -> Iterator[Membership]:
    membership = Membership(patient, name="box", devices=CPU)
    membership.join()
    yield membership
    membership.leave()


@pytest.fixture
def second(patient: Settings) -> Iterator[Membership]:
    membership = Membership(patient.model_copy(update={"pool": "large"}), name="box", devices=GPUS)
    yield membership
    membership.leave()


def test_a_second_process_of_a_name_is_refused_until_the_first_one_has_left(
    first: Membership, second: Membership
) -> None:
    with pytest.raises(NameTaken, match="HSU_WORKER_NAME"):
        second.join()
    assert not second.report()
    assert (row().identity, row().pool, row().devices) == (first.identity, "default", ["cpu:0"])
    first.leave()
    assert second.report()
    assert (row().identity, row().pool, row().slots) == (second.identity, "large", 4)


def test_a_process_that_lost_its_connections_takes_its_lock_again(first: Membership, second: Membership) -> None:
    with database.transaction() as session:
        holders = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted AND {LOCKS}"
        assert session.execute(text(holders)).scalars().all() == [True]
    until(lambda: not _locks())
    assert first.report()
    with pytest.raises(NameTaken):
        second.join()


def _locks() -> int:
    with database.transaction() as session:
        return session.execute(text(f"SELECT count(*) FROM pg_locks WHERE {LOCKS}")).scalar_one()


def test_a_process_whose_name_was_taken_over_claims_no_more_and_does_not_take_it_back(
    first: Membership, second: Membership
) -> None:
    with database.transaction() as session:
        session.execute(update(Worker).values(seen_at=func.now() - timedelta(hours=2)))  # a machine that slept
    second.join()
    assert not first.report()
    assert second.report()
    assert not first.report()
    assert row().identity == second.identity


def test_a_worker_whose_row_is_gone_writes_it_again(first: Membership) -> None:
    with database.transaction() as session:
        session.delete(session.get_one(Worker, "box"))
    assert not first.report()
    first._rests_until = 0.0
    assert first.report()
    assert row().identity == first.identity


def test_a_worker_process_of_a_taken_name_ends_with_status_1_and_says_why(
    first: Membership, patient: Settings, tmp_path: Path
) -> None:
    environment = patient.model_copy(update={"worker_name": "box"}).environment()
    command = [sys.executable, "-m", *commands(tmp_path, 0, "node@here")["worker"]]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "another live process is worker box" in ended.stdout + ended.stderr
    assert row().identity == first.identity
