"""What a machine can train on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.devices import Slot, slots, visible_gpus


def test_a_machine_without_a_gpu_has_one_slot_for_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert slots(None) == [Slot("cpu", "")]
    assert slots(3) == [Slot("cpu", "")] * 3


def test_each_gpu_is_a_slot_and_more_slots_share_them_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert slots(None) == [Slot("cuda:2", "2"), Slot("cuda:5", "5")]
    assert [slot.visible for slot in slots(3)] == ["2", "5", "2"]


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
