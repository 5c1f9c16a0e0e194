"""Saved states in a shared folder, and in an object store that every machine reaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsu_jobs import settings, storage


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str | None) -> None:
    """From now on this is the machine with this folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("HSU_ARTIFACTS_DIR", str(folder))
    if url:
        monkeypatch.setenv("HSU_ARTIFACTS_URL", url)
    settings.settings.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    settings.settings.cache_clear()


def save(job_id: int, attempt: int, step: int, content: bytes) -> Path:
    folder = storage.checkpoint_folder(job_id, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    path.write_bytes(content)
    return path


@pytest.fixture(params=["folder", "store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return f"file://{tmp_path}/store" if request.param == "store" else None


def test_what_one_machine_publishes_another_fetches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str | None
) -> None:
    (tmp_path / "store/jobs/7/attempt-1").mkdir(parents=True)
    machine(monkeypatch, tmp_path / "one", url)
    name = storage.publish(save(7, 1, 50, b"weights"))
    assert name == "jobs/7/attempt-1/step-000000050.safetensors"
    machine(monkeypatch, tmp_path / ("other" if url else "one"), url)
    assert storage.fetch(name).read_bytes() == b"weights"


def test_only_what_is_to_be_kept_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str | None) -> None:
    for attempt in (1, 2):
        (tmp_path / f"store/jobs/7/attempt-{attempt}").mkdir(parents=True)
    (tmp_path / "store/jobs/8/attempt-1").mkdir(parents=True)
    machine(monkeypatch, tmp_path / "one", url)
    names = [storage.publish(save(7, attempt, step, b"w")) for attempt, step in ((1, 50), (1, 100), (2, 150))]
    other = storage.publish(save(8, 1, 50, b"w"))
    storage.tidy(7, keep=names[1:2])
    for gone in (names[0], names[2]):
        with pytest.raises(FileNotFoundError):
            storage.fetch(gone).read_bytes()
    assert storage.fetch(names[1]).read_bytes() == storage.fetch(other).read_bytes() == b"w"
    storage.remove([names[0], names[1]])  # also what is gone already
    with pytest.raises(FileNotFoundError):
        storage.fetch(names[1]).read_bytes()


def test_a_folder_that_is_not_mounted_is_not_a_damaged_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(monkeypatch, tmp_path / "one", None)
    (tmp_path / "one").rmdir()
    with pytest.raises(OSError, match="is it mounted") as caught:
        storage.fetch("jobs/7/attempt-1/step-000000050.safetensors")
    assert not isinstance(caught.value, FileNotFoundError)
