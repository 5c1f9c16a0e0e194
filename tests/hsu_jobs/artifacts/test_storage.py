"""Saved states in a shared folder and in an object store; and storages that are not there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hsu_jobs.artifacts.storage import MARKER, ORPHANS_AFTER, Storage, StorageUnavailable
from hsu_jobs.settings import Settings

OURS = UUID("00000000-0000-4000-8000-00000000000a")
NAME = "jobs/7/attempt-1/step-000000050.safetensors"


@pytest.fixture(params=["folder", "store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return f"file://{tmp_path}/store" if request.param == "store" else None


def machine(folder: Path, url: str | None = None, *, installation: UUID = OURS) -> Storage:
    """The storage as the machine with this folder reaches it."""
    return Storage(Settings(artifacts_dir=folder, artifacts_url=url), installation)


def save(storage: Storage, job_id: int, attempt: int, step: int, content: bytes = b"w") -> Path:
    path = storage.prepare(job_id, attempt) / f"step-{step:09d}.safetensors"
    path.write_bytes(content)
    return path


@pytest.fixture
def top(tmp_path: Path, url: str | None) -> Path:
    """Where the storage's files are, marked; `file://` stores make no folders, so those of the jobs are there."""
    machine(tmp_path / "one", url).mark()
    found = tmp_path / ("store" if url else "one")
    for folder in ("jobs/7/attempt-1", "jobs/7/attempt-2", "jobs/8/attempt-1"):
        (found / folder).mkdir(parents=True)
    return found


def test_what_one_machine_publishes_another_fetches(tmp_path: Path, url: str | None, top: Path) -> None:
    one = machine(tmp_path / "one", url)
    assert one.publish(save(one, 7, 1, 50, b"weights")) == NAME
    other = machine(tmp_path / ("other" if url else "one"), url)
    assert other.fetch(NAME).read_bytes() == b"weights"
    other.check()


def test_publishing_again_what_is_there_changes_nothing(tmp_path: Path, url: str | None, top: Path) -> None:
    one = machine(tmp_path / "one", url)
    path = save(one, 7, 1, 50, b"weights")
    assert one.publish(path) == one.publish(path) == NAME
    assert one.fetch(NAME).read_bytes() == b"weights"
    with pytest.raises(FileNotFoundError):
        one.publish(path.with_name("step-000000099.safetensors"))


def test_only_what_was_given_up_and_what_has_long_been_nobodys_is_removed(
    tmp_path: Path, url: str | None, top: Path
) -> None:
    one = machine(tmp_path / "one", url)
    names = [one.publish(save(one, 7, attempt, step)) for attempt, step in ((1, 50), (1, 100), (1, 150), (2, 150))]
    given_up, kept, orphan, of_this_attempt = names
    other = one.publish(save(one, 8, 1, 50))
    one.tidy(7, given_up={given_up}, known={given_up, kept}, before=2)
    assert list(one.missing([*names, other])) == [given_up]
    for name in (kept, orphan, of_this_attempt, other):
        os.utime(top / name, (0, (top / name).stat().st_mtime - ORPHANS_AFTER - 1))
    one.tidy(7, given_up={given_up}, known={given_up, kept}, before=2)
    assert list(one.missing([*names, other])) == [given_up, orphan]
    one.remove([given_up, kept])  # also what is gone already
    with pytest.raises(FileNotFoundError):
        one.fetch(kept)


def gone(folder: Path) -> None:
    folder.rename(folder.with_name("away"))


def empty(folder: Path) -> None:
    gone(folder)
    folder.mkdir()


def anothers(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("away"))
    (folder / MARKER).write_text(f"{uuid4()}\n")


def a_file(folder: Path) -> None:
    gone(folder)
    folder.write_text("a file in the place of the folder")


def a_ring_of_links(folder: Path) -> None:
    gone(folder)
    folder.symlink_to(folder)


def a_link_to_nowhere(folder: Path) -> None:
    gone(folder)
    folder.symlink_to(folder.with_name("nowhere"))


OUTAGES = [gone, empty, anothers, a_file, a_ring_of_links, a_link_to_nowhere]


@pytest.mark.parametrize("happens", OUTAGES)
def test_a_storage_that_is_away_or_another_one_is_no_missing_file_and_nothing_is_done_to_it(
    tmp_path: Path, url: str | None, top: Path, happens: Callable[[Path], None]
) -> None:
    one = machine(tmp_path / "one", url)
    path = save(one, 7, 1, 50, b"weights")
    one.publish(path)
    happens(top)
    before = sorted(str(each) for each in top.rglob("*")) if top.is_dir() else []
    for attempt in (
        one.check,
        lambda: one.fetch(NAME),
        lambda: list(one.missing([NAME])),
        lambda: one.remove([NAME]),
        lambda: one.tidy(7, given_up={NAME}, known=set(), before=9),
        lambda: one.publish(path),
        lambda: one.prepare(7, 3),
    ):
        with pytest.raises(StorageUnavailable):
            attempt()
    assert (sorted(str(each) for each in top.rglob("*")) if top.is_dir() else []) == before
    assert (top.with_name("away") / NAME).read_bytes() == b"weights"


def test_a_link_on_the_way_that_leads_nowhere_is_an_outage(tmp_path: Path) -> None:
    one = machine(tmp_path / "one")
    one.mark()
    (tmp_path / "one/jobs").symlink_to(tmp_path / "not mounted")
    with pytest.raises(StorageUnavailable, match="a link that leads nowhere"):
        one.fetch(NAME)


def test_a_store_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    nobody = machine(tmp_path, "http://127.0.0.1:1/bucket")
    with pytest.raises(StorageUnavailable, match="does not answer"):
        nobody.fetch(NAME)
    with pytest.raises(StorageUnavailable, match="does not answer"):
        machine(tmp_path, "no-such-protocol://bucket").check()


def test_what_is_asked_of_an_open_folder_is_answered_by_it_though_another_takes_its_place(tmp_path: Path) -> None:
    """As when it is unmounted in between: the answer is of the old one or an outage, and never an absence."""
    one = machine(tmp_path / "one")
    one.mark()
    save(one, 7, 1, 50)
    looking = one.missing([NAME, "jobs/7/attempt-1/step-000000099.safetensors", NAME])
    assert next(looking).endswith("99.safetensors")
    empty(tmp_path / "one")
    assert list(looking) == []


def test_the_marker_is_written_once_and_never_over_anothers(tmp_path: Path) -> None:
    ours, theirs = machine(tmp_path / "new/one"), machine(tmp_path / "new/one", installation=uuid4())
    with pytest.raises(StorageUnavailable):
        ours.check()
    ours.mark()
    ours.mark()
    with pytest.raises(StorageUnavailable, match="belongs to installation"):
        theirs.mark()
    ours.check()
    theirs.mark(take_over=True)
    with pytest.raises(StorageUnavailable, match="adopt-artifacts"):
        ours.check()


def test_a_storage_that_lacks_what_the_database_names_is_not_marked(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"lacks jobs/7.*which the database names"):
        machine(tmp_path / "one").mark(expected=NAME)
    assert not (tmp_path / "one" / MARKER).exists()


def test_parts_become_one_file_whole_or_not_at_all(tmp_path: Path, url: str | None, top: Path) -> None:
    one = machine(tmp_path / "one", url)
    for number, content in enumerate((b"a" * 5_000_000, b"b", b"c")):
        one.store(f"uploads/x/{number}", content)
    parts = [f"uploads/x/{number}" for number in range(3)]
    whole = b"a" * 5_000_000 + b"bc"
    assert one.join("jobs/7/saved/1", parts) == hashlib.sha256(whole).hexdigest()
    with one.reading("jobs/7/saved/1") as file:
        assert b"".join(file.pieces()) == whole
    with pytest.raises(FileNotFoundError):
        one.join("jobs/7/saved/2", [*parts, "uploads/x/9"])
    assert list(one.missing(["jobs/7/saved/2"])) == ["jobs/7/saved/2"]
    assert not list(tmp_path.rglob("*.partial"))
