"""The data sets on a machine: fetched once, checked, and never removed while somebody uses them."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from uuid import UUID

import pytest
from own_data import flowers, zipped

from hsu_core.data.images import DamagedFile
from hsu_core.data.own import manifest
from hsu_core.data.own.convert import convert
from hsu_core.data.own.manifest import Manifest
from hsu_jobs.artifacts.storage import Storage, StorageUnavailable
from hsu_jobs.datasets import storing
from hsu_jobs.settings import Settings
from worker.dataset_cache import cached

OURS = UUID("00000000-0000-4000-8000-00000000000a")
PLENTY = 2**30


@pytest.fixture(params=["folder", "store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    url = f"file://{tmp_path}/store" if request.param == "store" else None
    found = Storage(Settings(artifacts_dir=tmp_path / "artifacts", artifacts_url=url), OURS)
    found.mark()
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def stored(storage: Storage, folder: Path, *, seed: int = 0) -> Manifest:
    """Content as a worker stores it."""
    (folder / "flowers.zip").write_bytes(zipped(flowers(seed=seed)))
    out = folder / f"converted{seed}"
    out.mkdir()
    made = convert("folder", folder / "flowers.zip", out)
    for name in (*made.files, manifest.NAME):
        storage.store(f"{storing.content(made.sha256)}/{name}", out / name)
    return made


def held(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def test_a_set_is_fetched_once_and_then_needs_no_storage(storage: Storage, cache: Path, tmp_path: Path) -> None:
    made = stored(storage, tmp_path)
    with cached(cache, made.sha256, storage, most_bytes=PLENTY) as place:
        manifest.verify(place, manifest.read(place, sha256=made.sha256))
    shutil.rmtree(tmp_path / "artifacts")
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    with cached(cache, made.sha256, storage, most_bytes=PLENTY) as again:
        assert again == place
    with pytest.raises(StorageUnavailable), cached(cache, "0" * 64, storage, most_bytes=PLENTY):
        pass


def test_what_was_used_longest_ago_makes_room(storage: Storage, cache: Path, tmp_path: Path) -> None:
    made = [stored(storage, tmp_path, seed=seed) for seed in range(3)]
    most = 2 * made[0].size + 100
    for number, each in enumerate((*made[:2], made[0])):
        with cached(cache, each.sha256, storage, most_bytes=most) as place:
            pass
        os.utime(place, (number, number))
    with cached(cache, made[2].sha256, storage, most_bytes=most):
        assert held(cache) == {made[0].sha256, made[2].sha256}


def test_what_a_job_uses_is_not_removed(storage: Storage, cache: Path, tmp_path: Path) -> None:
    first, second = (stored(storage, tmp_path, seed=seed) for seed in range(2))
    with cached(cache, first.sha256, storage, most_bytes=0), cached(cache, second.sha256, storage, most_bytes=0):
        assert held(cache) == {first.sha256, second.sha256}
    with cached(cache, first.sha256, storage, most_bytes=0) as place:
        assert place.exists()


def test_content_that_is_damaged_or_lost_is_told(storage: Storage, cache: Path, tmp_path: Path) -> None:
    made = stored(storage, tmp_path)
    storage.store(f"{storing.content(made.sha256)}/train_y.npy", b"other")
    with (
        pytest.raises(DamagedFile, match=r"train_y.npy: expected the SHA-256"),
        cached(cache, made.sha256, storage, most_bytes=PLENTY),
    ):
        pass
    storage.remove([f"{storing.content(made.sha256)}/{manifest.NAME}"])
    with (
        pytest.raises(DamagedFile, match=r"lacks datasets/.*manifest.json"),
        cached(cache, made.sha256, storage, most_bytes=PLENTY),
    ):
        pass
    assert held(cache) == set()


def _use(cache: Path, sha256: str, storage: Storage, ready: multiprocessing.synchronize.Event) -> None:
    with cached(cache, sha256, storage, most_bytes=0):
        ready.set()
        time.sleep(600)


def test_a_process_that_is_killed_holds_nothing(storage: Storage, cache: Path, tmp_path: Path) -> None:
    first, second = (stored(storage, tmp_path, seed=seed) for seed in range(2))
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_use, args=(cache, first.sha256, storage, ready))
    process.start()
    assert ready.wait(300)
    with cached(cache, second.sha256, storage, most_bytes=0):
        assert first.sha256 in held(cache)
    process.kill()
    process.join()
    shutil.rmtree(cache / second.sha256)
    with cached(cache, second.sha256, storage, most_bytes=0):
        assert held(cache) == {second.sha256}


def test_what_a_killed_process_left_is_removed_and_what_another_fetches_is_not(
    storage: Storage, cache: Path, tmp_path: Path
) -> None:
    made = stored(storage, tmp_path)
    for name in ("a.partial", "b.gone", "c.partial"):
        (cache / name).mkdir(parents=True)
        (cache / name / "train_x.npy").write_bytes(b"x")
    with (cache / "c.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with cached(cache, made.sha256, storage, most_bytes=PLENTY):
            assert held(cache) == {made.sha256, "c.partial"}
