"""What a machine lacks: its storage, or data sets. Absence is an outage or another's job, and never damage."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from samples import ROOM
from sqlalchemy import select
from sqlalchemy.orm import Session
from waiting import until

from hsu_core.data.files import IDX, LAYOUT, UNPUBLISHED
from hsu_core.outcomes import Saved
from hsu_jobs import attempts, database, queries
from hsu_jobs.artifacts import checkpoints, installation, missing_checkpoints
from hsu_jobs.artifacts.storage import MARKER, Storage, StorageUnavailable
from hsu_jobs.attempts import Claim
from hsu_jobs.cluster import waiting, workers
from hsu_jobs.errors import Gone
from hsu_jobs.outcomes import Unavailable
from hsu_jobs.settings import Settings
from hsu_jobs.states import State
from hsu_jobs.tables import CheckpointRow, EventRow, Job, RowFailure, Worker
from worker import runner
from worker.readiness import ReadinessCheck
from worker.supervisor import Supervisor

STARTING = 300
LONG = {
    "duration": {"steps": 10**6},
    "checkpoint": {"every": 100},
    "record": {"every": 100, "measures": ["mhe_s2"]},
    "limits": {"max_attempts": 2},
}


@pytest.fixture
def settings(fast: Settings, tmp_path: Path) -> Settings:
    """With a storage in a folder of its own."""
    return fast.model_copy(update={"artifacts_dir": tmp_path / "artifacts"})


@pytest.fixture
def storage(settings: Settings) -> Storage:
    with database.transaction() as session:
        return installation.marked_storage(session, settings)


@pytest.fixture
def kept(claim: Claim, storage: Storage) -> Callable[[], list[int]]:
    """The job has two checkpoints, whose files are there; the steps that can be gone on from, newest first."""
    with database.transaction() as session:
        for step, content in ((10, b"ten"), (20, b"twenty")):
            path = storage.prepare(claim.job_id, 1) / f"step-{step:09d}.safetensors"
            path.write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            state = Saved(step, path, sha256=sha256, bytes=len(content), metric=None, is_best=False)
            attempts.progress(session, claim.token, step=step, saved=[(state, storage.publish(path))])

    def steps() -> list[int]:
        with database.transaction() as session:
            job = session.get_one(Job, claim.job_id)
            return [row.step for row in checkpoints.to_resume_from(session, job)]

    return steps


def restored(claim: Claim, storage: Storage) -> int | None:
    """The step from which an attempt would go on now."""
    with database.transaction() as session:
        job, _ = attempts.held(session, claim.token)
    row = runner._restore(job, claim.token, storage)
    return row.step if row else None


def events(kind: str) -> list[dict[str, object]]:
    with database.transaction() as session:
        every = session.execute(select(EventRow.event).order_by(EventRow.id)).scalars().all()
    return [event for event in every if event["kind"] == kind]


def gone(folder: Path) -> None:
    folder.rename(folder.with_name("away"))


def empty(folder: Path) -> None:
    gone(folder)
    folder.mkdir()


def anothers(folder: Path) -> None:
    gone(folder)
    folder.mkdir()
    (folder / MARKER).write_text(f"{uuid4()}\n")


def back(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.with_name("away").rename(folder)


@pytest.mark.parametrize("happens", [gone, empty, anothers])
def test_while_the_storage_is_away_nothing_is_marked_and_nothing_begins_anew(
    claim: Claim,
    kept: Callable[[], list[int]],
    storage: Storage,
    settings: Settings,
    happens: Callable[[Path], None],
) -> None:
    happens(settings.artifacts_dir)
    with pytest.raises(StorageUnavailable):
        restored(claim, storage)
    assert kept() == [20, 10]
    with pytest.raises(StorageUnavailable):
        missing_checkpoints.Audit().look(storage, at_most=settings.sweep)
    back(settings.artifacts_dir)
    assert (restored(claim, storage), kept()) == (20, [20, 10])
    assert (events("damaged"), events("missing")) == ([], [])


def test_a_file_that_a_healthy_storage_lacks_is_missing_and_one_with_other_bytes_damaged(
    claim: Claim, kept: Callable[[], list[int]], storage: Storage, settings: Settings
) -> None:
    newest, older = sorted(settings.artifacts_dir.glob("jobs/*/*/*.safetensors"), reverse=True)
    newest.unlink()
    assert restored(claim, storage) == 10
    assert [event["step"] for event in events("missing")] == [20]
    older.write_bytes(b"eleven")
    assert restored(claim, storage) is None
    assert [event["step"] for event in events("damaged")] == [10]
    assert older.read_bytes() == b"eleven"
    with database.transaction() as session:
        job, attempt = attempts.held(session, claim.token)
        why = session.execute(select(CheckpointRow.removed_because).order_by(CheckpointRow.step)).scalars().all()
    assert why == ["damaged", "missing"]
    newest.write_bytes(b"twenty")  # it was not gone after all
    runner._tidy(job, attempt, storage)
    assert newest.exists()  # nobody gave it up on purpose
    assert older.exists()


def test_an_audit_finds_what_is_missing_and_then_nothing_goes_on_from_it(
    claim: Claim, kept: Callable[[], list[int]], storage: Storage, settings: Settings
) -> None:
    audit = missing_checkpoints.Audit()
    assert audit.look(storage, at_most=settings.sweep) == 0
    for file in settings.artifacts_dir.glob("jobs/*/*/*.safetensors"):
        file.unlink()
    assert audit.look(storage, at_most=settings.sweep) == 2
    assert kept() == []
    with database.transaction() as session, pytest.raises(Gone, match="its file is missing"):
        checkpoints.at(session, session.get_one(Job, claim.job_id), None)


def test_a_checkpoint_that_cannot_be_audited_keeps_no_other_from_being_found_missing(
    claim: Claim, kept: Callable[[], list[int]], storage: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = missing_checkpoints.note

    def broken(session: Session, row: CheckpointRow) -> None:
        if row.step == 10:
            raise ValueError("it cannot be noted")
        note(session, row)

    monkeypatch.setattr(missing_checkpoints, "note", broken)
    for file in settings.artifacts_dir.glob("jobs/*/*/*.safetensors"):
        file.unlink()
    assert missing_checkpoints.Audit().look(storage, at_most=settings.sweep) == 1
    assert kept() == [10]
    with database.transaction() as session:
        assert installation.adopt(session, settings).missing == 1
    with database.transaction() as session:
        failures = session.execute(select(RowFailure.loop, RowFailure.failures)).all()
    assert dict(failures) == {"missing files": 1, "adopting artifacts": 1}


def test_a_storage_that_is_adopted_on_purpose_is_used_and_what_it_lacks_is_missing(
    claim: Claim, kept: Callable[[], list[int]], storage: Storage, settings: Settings
) -> None:
    anothers(settings.artifacts_dir)
    with database.transaction() as session:
        assert installation.adopt(session, settings) == (0, 2)
    storage.check()
    assert (restored(claim, storage), kept()) == (None, [])
    assert (settings.artifacts_dir.with_name("away") / MARKER).exists()


def test_an_installation_from_before_the_markers_marks_only_the_storage_that_holds_its_states(
    claim: Claim, kept: Callable[[], list[int]], storage: Storage, settings: Settings
) -> None:
    with database.transaction() as session:
        session.execute(queries.installation_for_update()).scalar_one().storage_marked_at = None
    (settings.artifacts_dir / MARKER).unlink()
    elsewhere = settings.model_copy(update={"artifacts_dir": settings.artifacts_dir.with_name("elsewhere")})
    with pytest.raises(StorageUnavailable, match="which the database names"), database.transaction() as session:
        installation.marked_storage(session, elsewhere)
    with database.transaction() as session:
        installation.marked_storage(session, settings).check()


def test_a_worker_with_a_folder_of_its_own_takes_no_jobs_and_says_so(
    settings: Settings,
    storage: Storage,
    submit: Callable[..., int],
    job: Callable[[int], Job],
    tmp_path: Path,
    supervise: Callable[..., Supervisor],
) -> None:
    made = submit()
    own = settings.model_copy(update={"artifacts_dir": tmp_path / "own"})
    (tmp_path / "own").mkdir()
    supervisor = supervise(own)
    until(lambda: lacking() is not None)
    with database.transaction() as session:
        found = waiting.why(session, job(made), settings)
    supervisor.stop()
    assert "holds no .hsu-installation: is the right one mounted?" in str(lacking())
    assert found is not None
    assert (job(made).state, found.reason) == (State.QUEUED, "workers_lack_storage")
    assert list((tmp_path / "own").iterdir()) == []


def lacking() -> str | None:
    """What keeps the worker from taking jobs."""
    with database.transaction() as session:
        worker = session.execute(select(Worker)).scalar_one_or_none()
    return worker.lacks[0] if worker and worker.lacks else None


def readable(settings: Settings) -> tuple[str, ...]:
    return ReadinessCheck(settings).look().datasets


def test_a_worker_says_which_data_sets_it_can_read(settings: Settings) -> None:
    raw = settings.data_dir / "FashionMNIST/raw"
    assert readable(settings) == ("digits", "own")
    raw.mkdir(parents=True)
    for name in IDX:
        (raw / f"{name}.gz").touch()
    assert readable(settings) == ("digits", "fashion-mnist", "own")
    (raw / f"{IDX[0]}.gz").rename(raw / "away")
    assert readable(settings) == ("digits", "own")
    may = settings.model_copy(update={"allow_download": True})
    assert set(readable(may)) == {*LAYOUT, "own"} - UNPUBLISHED
    (may.data_dir / "file").touch()
    assert readable(may.model_copy(update={"data_dir": may.data_dir / "file"})) == ("digits", "own")


def test_a_data_set_that_could_not_be_read_is_left_to_others_for_a_while(settings: Settings) -> None:
    may = settings.model_copy(update={"allow_download": True})
    check = ReadinessCheck(may)
    assert "mnist" in check.look().datasets
    check.distrust("mnist")
    assert "mnist" not in check.look().datasets


def test_what_could_not_be_read_stays_missing_when_it_was_noticed_during_a_look(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = ReadinessCheck(settings)

    def found(*_: object) -> bool:
        check.distrust("mnist")  # an attempt ends in another thread
        return True

    monkeypatch.setattr("worker.readiness._is_readable", found)
    assert "mnist" not in check.look().datasets
    assert "mnist" not in check.look().datasets


def test_what_one_machine_lacks_another_takes(submit: Callable[..., int], fast: Settings) -> None:
    made = submit(dataset={"kind": "cifar10"}, model={"kind": "mlp"})

    def claimed(name: str, *datasets: str) -> int | None:
        with database.transaction() as session:
            workers.register(session, name, pool="default", devices=["cpu:0"], slots=1)
            found = attempts.claim(session, ROOM._replace(worker=name, datasets=datasets), fast)
        return found and found.job_id

    assert claimed("one", "digits", "mnist") is None
    assert claimed("two", "digits", "cifar10") == made


def test_a_job_goes_on_from_where_it_was_once_its_storage_is_back(
    settings: Settings,
    submit: Callable[..., int],
    job: Callable[[int], Job],
    monkeypatch: pytest.MonkeyPatch,
    supervise: Callable[..., Supervisor],
) -> None:
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(settings.artifacts_dir))
    supervisor = supervise(settings)
    made = submit(**LONG)

    def steps() -> list[int]:
        with database.transaction() as session:
            rows = session.execute(select(CheckpointRow.step).where(CheckpointRow.removed_at.is_(None)))
            return sorted(rows.scalars())

    until(lambda: steps(), seconds=STARTING)
    gone(settings.artifacts_dir)
    with database.transaction() as session:
        workers.drain(session, "here", now=True)  # the attempt ends, and cannot save its state
    until(lambda: job(made).state is State.QUEUED, seconds=STARTING)
    with database.transaction() as session:
        workers.restore(session, "here")
    until(lacking, seconds=STARTING)
    assert not settings.artifacts_dir.exists()
    before, reached = len(job(made).attempts), max(steps())
    back(settings.artifacts_dir)
    until(lambda: job(made).attempts[-1].resumed_from, seconds=STARTING)
    assert job(made).attempts[-1].resumed_from == reached
    assert len(job(made).attempts) <= before + 1
    assert job(made).strikes == 0
    supervisor.stop()


def test_an_attempt_that_cannot_reach_its_storage_waits_longer_each_time_and_is_no_strike(
    claim: Claim, storage: Storage, settings: Settings, job: Callable[[int], Job]
) -> None:
    away = Unavailable(code="storage_unavailable", message="is it mounted?")
    patient = settings.model_copy(update={"retry_after": settings.lease})
    token, waits = claim.token, []
    for _ in range(3):
        with database.transaction() as session:
            assert attempts.settle(session, token, away, patient) is State.QUEUED
        waits.append((job(claim.job_id).runnable_at - job(claim.job_id).attempts[-1].ended_at) / patient.retry_after)  # type: ignore[operator]
        with database.transaction() as session:
            session.get_one(Job, claim.job_id).runnable_at = job(claim.job_id).created_at
            session.flush()
            again = attempts.claim(session, ROOM, patient)
        assert again is not None
        token = again.token
    assert waits == [1, 2, 4]
    assert job(claim.job_id).strikes == 0
