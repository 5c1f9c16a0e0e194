"""Which cores are a runner's, and how its threads wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from live_runners import STARTING, runners
from waiting import until

from hsu_jobs.settings import Settings
from worker import cores
from worker.devices import Devices
from worker.processes import Spare
from worker.supervisor import Supervisor

OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of threads."""
    for name in OPENMP:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("there", "slots", "each"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 2, 1), (2, 5, 1)])
def test_the_cores_are_shared_by_the_slots_and_everybody_has_one(
    monkeypatch: pytest.MonkeyPatch, there: int, slots: int, each: int
) -> None:
    monkeypatch.setattr(cores, "cores", lambda: there)
    assert cores.share(slots) == each


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity")
def test_cores_that_this_process_may_not_use_are_nobodys() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_quotas_of_control_groups_count_also_of_those_above(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("12:cpu,cpuacct:/docker/ab\n11:memory:/docker/ab\n0::/pod/ab\n")
    files = {
        "cpu.max": "max 100000",
        "pod/cpu.max": "350000 100000",
        "pod/ab/cpu.max": "max 100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000",
        "memory/docker/ab/cpu.max": "1 100000",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert sorted(cores.quotas(tmp_path, own)) == [2.5, 3.5]
    assert list(cores.quotas(tmp_path, tmp_path / "none")) == []


@pytest.mark.usefixtures("unset")
def test_a_quota_of_less_than_a_core_leaves_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "quotas", lambda: [0.5])
    assert cores.environment(1)["OMP_NUM_THREADS"] == "1"


@pytest.mark.usefixtures("unset")
@pytest.mark.parametrize("slots", [1, 2])
def test_a_runner_is_started_with_its_share(fast: Settings, monkeypatch: pytest.MonkeyPatch, slots: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    supervisor = Supervisor(fast, name="here", devices=Devices([f"cpu:{i}" for i in range(slots)], slots_each=1))
    supervisor.start()
    try:
        (seen,) = _environments(1)
    finally:
        supervisor.stop()
    assert int(seen["OMP_NUM_THREADS"]) == max(1, cores.cores() // slots)
    assert (seen["OMP_WAIT_POLICY"], seen["GOMP_SPINCOUNT"]) == ("PASSIVE", str(cores.SPINS))


def test_what_the_environment_says_stands(fast: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    spare = Spare(fast, cores.environment(2))
    spare.prepare()
    try:
        (seen,) = _environments(1)
    finally:
        spare.put_away()
    assert (seen["OMP_NUM_THREADS"], seen["OMP_WAIT_POLICY"]) == ("7", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in seen


def _environments(count: int) -> list[dict[str, str]]:
    until(lambda: len(runners()) == count, seconds=STARTING)
    return [runner.environ() for runner in runners()]
