"""Who converts an upload: a process without keys, under a lease that outlives nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from own_data import described, flowers, zipped
from sqlalchemy import update
from waiting import until

from hsu_core.data.own.sources import Options
from hsu_jobs import database
from hsu_jobs.artifacts import installation
from hsu_jobs.artifacts.storage import Storage
from hsu_jobs.datasets import conversions, storing, uploads, versions
from hsu_jobs.datasets.uploads import NewDataset
from hsu_jobs.settings import Settings
from hsu_jobs.tables import DatasetRow, DatasetState, User
from worker import dataset_pool
from worker.dataset_conversion import Order
from worker.dataset_pool import Converter, convert_next

FLOWERS = zipped(flowers())
RUNNING = threading.Event()


@pytest.fixture
def storage(fast: Settings) -> Storage:
    """The storage, which a worker has used."""
    with database.transaction() as session:
        return installation.marked_storage(session, fast)


def complete(storage: Storage, settings: Settings, content: bytes = FLOWERS, **fields: Any) -> int:
    """An upload of which everything has arrived; its id."""
    new = NewDataset.model_validate(described(content, **fields))
    with database.transaction() as session:
        owner = User(name=f"ada{fields}")
        session.add(owner)
        session.flush()
        row = uploads.begin(session, owner, new, settings).row
        uploads.put(session, row, storage, number=1, content=content, sha256=new.sha256)
        return uploads.complete(session, row).id


def row(dataset_id: int) -> DatasetRow:
    with database.transaction() as session:
        return session.get_one(DatasetRow, dataset_id)


def later(dataset_id: int, seconds: float) -> None:
    """Let seconds pass."""
    past = {name: getattr(DatasetRow, name) - timedelta(seconds=seconds) for name in ("held_until", "changed_at")}
    with database.transaction() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == dataset_id).values(past))


def claim(settings: Settings) -> conversions.Conversion | None:
    with database.transaction() as session:
        return conversions.claim_next(session, settings)


def test_a_worker_converts_what_is_complete(storage: Storage, fast: Settings) -> None:
    dataset_id = complete(storage, fast)
    converter = Converter(fast)
    converter.start()
    try:
        until(lambda: row(dataset_id).state is DatasetState.READY)
        until(lambda: row(dataset_id).cleared_at is not None)
    finally:
        converter.stop()
    found = row(dataset_id)
    assert found.holder is None
    assert found.facts is not None
    assert list(storage.missing([storing.part(dataset_id, 1)])) == [storing.part(dataset_id, 1)]


def test_two_workers_do_not_convert_the_same(storage: Storage, fast: Settings) -> None:
    complete(storage, fast)
    first = claim(fast)
    assert first is not None
    assert claim(fast) is None


def test_another_worker_converts_after_one_was_killed(storage: Storage, fast: Settings) -> None:
    dataset_id = complete(storage, fast)
    lost = claim(fast)
    assert lost is not None
    assert not convert_next(fast, RUNNING)
    later(dataset_id, conversions.LEASE.total_seconds() + 1)
    assert convert_next(fast, RUNNING)
    assert row(dataset_id).state is DatasetState.READY
    with database.transaction() as session:
        assert not conversions.renew(session, lost)
        conversions.settle(session, lost, "it comes too late")
    assert row(dataset_id).state is DatasetState.READY


def test_a_conversion_that_ends_without_a_result_is_tried_three_times(
    storage: Storage, fast: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = complete(storage, fast)
    killed = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})"]
    begun = subprocess.Popen
    monkeypatch.setattr(dataset_pool.subprocess, "Popen", lambda _command, **how: begun(killed, **how))
    for tries in range(1, conversions.MOST_TRIES + 1):
        assert convert_next(fast, RUNNING)
        assert (row(dataset_id).state, row(dataset_id).tries) == (DatasetState.CONVERTING, tries)
        later(dataset_id, conversions.LEASE.total_seconds() + 1)
    assert not convert_next(fast, RUNNING)
    found = row(dataset_id)
    assert found.state is DatasetState.REFUSED
    assert "3 times" in str(found.reason)


def test_a_worker_that_stops_gives_the_upload_back(storage: Storage, fast: Settings) -> None:
    dataset_id = complete(storage, fast)
    stopping = threading.Event()
    stopping.set()
    assert not convert_next(fast, stopping)
    found = row(dataset_id)
    assert (found.state, found.holder, found.tries) == (DatasetState.CONVERTING, None, 0)


def test_a_part_that_is_damaged_in_the_storage_is_told(storage: Storage, fast: Settings, tmp_path: Path) -> None:
    dataset_id = complete(storage, fast)
    (tmp_path / storing.part(dataset_id, 1)).write_bytes(b"other")
    assert convert_next(fast, RUNNING)
    assert row(dataset_id).reason == "part 1 is damaged in the storage: upload it again"


def test_a_set_that_is_deleted_while_it_is_converted_leaves_nothing(
    storage: Storage, fast: Settings, tmp_path: Path
) -> None:
    dataset_id = complete(storage, fast)
    conversion = claim(fast)
    assert conversion is not None
    with database.transaction() as session:
        versions.delete(session, session.get_one(DatasetRow, dataset_id))
        assert not conversions.renew(session, conversion)
    assert dataset_pool.clear(fast) == 1
    assert list((tmp_path / storing.UPLOADS).iterdir()) == []


def test_an_upload_that_nobody_completes_is_given_up(storage: Storage, fast: Settings) -> None:
    new = NewDataset.model_validate(described(FLOWERS))
    with database.transaction() as session:
        owner = User(name="ada")
        session.add(owner)
        session.flush()
        dataset_id = uploads.begin(session, owner, new, fast).row.id
    later(dataset_id, conversions.ABANDONED_AFTER.total_seconds() - 60)
    convert_next(fast, RUNNING)
    assert row(dataset_id).state is DatasetState.UPLOADING
    later(dataset_id, 120)
    convert_next(fast, RUNNING)
    assert row(dataset_id).state is DatasetState.REFUSED


def test_the_process_that_converts_sees_no_addresses_and_ends_with_the_worker(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("train.zip", "out")}
    os.mkfifo(files["train.zip"])  # it waits for what nobody writes
    files["out"].mkdir()
    order = Order(
        source="folder", options=Options(), train=files["train.zip"], test=None, out=files["out"], most_bytes=1
    )
    assert not any(name.startswith("HSU_") for name in dataset_pool.VARIABLES)
    process = subprocess.Popen([sys.executable, "-m", "worker.dataset_conversion"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(order.model_dump_json().encode() + b"\n")
    process.stdin.close()
    assert process.wait(timeout=300) == 1
