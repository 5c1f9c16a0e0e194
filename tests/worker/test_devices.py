"""What a machine can train on, and what of it is free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hsu_jobs.settings import Settings
from worker.devices import Devices, of_this_machine, visibility, visible_gpus


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


@pytest.mark.parametrize(("script", "gpus"), [("echo 0; echo 1", ["0", "1"]), ("exit 9", [])])
def test_the_driver_is_asked_by_its_own_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, gpus: list[str]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    assert visible_gpus() == gpus
