"""What a machine can train on, and what of it is free."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hsu_jobs.settings import Settings
from worker.devices import Devices, NoSuchGpu, named, of_this_machine, visibility, visible_gpus


def test_a_machine_without_a_gpu_has_slots_on_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert of_this_machine(Settings()).names == ("cpu:0",)
    assert of_this_machine(Settings(slots=3)).free() == ("cpu:0", "cpu:1", "cpu:2")


def test_each_gpu_is_a_slot_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert of_this_machine(Settings()).slots == 2
    shared = of_this_machine(Settings(slots_per_gpu=2))
    assert (shared.slots, shared.free()) == (4, ("cuda:2", "cuda:5"))


def test_the_emptiest_is_used_first_and_a_full_one_not_at_all() -> None:
    devices = Devices(["cuda:0", "cuda:1"], slots_each=2)
    devices.take(["cuda:0"])
    assert devices.free() == ("cuda:1", "cuda:0")
    devices.take(["cuda:0", "cuda:1"])
    assert devices.free() == ("cuda:1",)
    devices.give_back(["cuda:0", "cuda:1"])
    assert devices.free() == ("cuda:1", "cuda:0")


def test_a_runner_sees_its_gpus_only() -> None:
    assert visibility(["cuda:2", "cuda:5"]) == "2,5"
    assert visibility(["cpu:0", "cpu:1"]) == ""


def test_hidden_gpus_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_without_a_driver_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == []


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """A driver's own tool, as a script that says what the driver would."""

    def answers(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return answers


TWO_GPUS = """cat <<END
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f)
  MIG 1g.5gb      Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 1g.5gb      Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5c8a0000-0a3b-11d2-a0c3-d7a7f4a2b0c5)
END"""


@pytest.mark.parametrize(("script", "gpus"), [("echo 0; echo 1", ["0", "1"]), (TWO_GPUS, ["0", "1"]), ("exit 9", [])])
def test_the_driver_is_asked_by_its_own_tool(
    monkeypatch: pytest.MonkeyPatch, driver: Callable[[str], None], script: str, gpus: list[str]
) -> None:
    driver(script)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    assert visible_gpus() == gpus


@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 5", ["2", "5"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("0,-1,1", ["0"]),
        ("0,NoDevFiles,1", ["0"]),
        ("1,,2", ["1"]),
        ("1gpu2,2ampere", ["1", "2"]),
        ("+1,02", ["1", "2"]),
        ("0,0", []),
        ("2,1,2", []),
        ("GPU-5c89,GPU-5c8a", ["GPU-5c89", "GPU-5c8a"]),
        ("GPU-5c89,1", ["GPU-5c89"]),
        ("0,GPU-5c89", ["0"]),
        ("GPU-5c89,GPU-5c89", []),
        ("MIG-c738,MIG-a28a", ["MIG-c738", "MIG-a28a"]),
        ("MIG-c738,GPU-5c89", ["MIG-c738"]),
        ("gpu-5c89", []),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(variable: str, names: list[str]) -> None:
    assert named(variable) == names


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [
        ("1,0", ["1", "0"]),
        ("0,7,1", ["0"]),
        ("GPU-5c8a,GPU-5c89", ["GPU-5c8a", "GPU-5c89"]),
        ("GPU-5c89,GPU-beef", ["GPU-5c89"]),
        ("GPU-5c8a,GPU-5c8", ["GPU-5c8a"]),  # which of two?
        ("MIG-c7384736-a75d-5afc-978f-d2f1294409fd", ["MIG-c7384736-a75d-5afc-978f-d2f1294409fd"]),
    ],
)
def test_what_the_driver_does_not_have_ends_the_list(
    monkeypatch: pytest.MonkeyPatch, driver: Callable[[str], None], variable: str, gpus: list[str]
) -> None:
    driver(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == gpus
    assert of_this_machine(Settings()).names == tuple(f"cuda:{gpu}" for gpu in gpus)


@pytest.mark.parametrize("variable", ["7", "2,0", "GPU-beef", "MIG-0"])
def test_a_machine_whose_driver_has_none_of_the_named_gpus_does_not_serve_its_cpu_in_their_place(
    monkeypatch: pytest.MonkeyPatch, driver: Callable[[str], None], variable: str
) -> None:
    driver(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == []
    with pytest.raises(NoSuchGpu, match=f"expected GPUs that nvidia-smi -L lists, found '{variable}'"):
        of_this_machine(Settings())


def test_a_worker_without_the_gpus_that_it_is_said_to_have_does_not_start_and_says_why(
    monkeypatch: pytest.MonkeyPatch, driver: Callable[[str], None]
) -> None:
    driver(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    worker = subprocess.run([sys.executable, "-m", "worker"], capture_output=True, text=True, timeout=300, check=False)
    assert worker.returncode == 1
    assert "the worker does not start: CUDA_VISIBLE_DEVICES: expected GPUs that nvidia-smi -L lists" in worker.stderr


@pytest.mark.parametrize("variable", ["0,0", "gpu0", "all"])
def test_a_variable_that_names_no_gpu_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    with caplog.at_level(logging.WARNING):
        assert of_this_machine(Settings()).names == ("cpu:0",)
    assert f"{variable!r}, which names no GPU as CUDA reads it: jobs run on the CPU" in caplog.text


@pytest.mark.parametrize("variable", ["", "-1", "NoDevFiles"])
def test_a_variable_that_means_none_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert of_this_machine(Settings()).names == ("cpu:0",)
    assert caplog.text == ""
