"""What is measured on a GPU, in its small form on the CPU: every part runs, every check holds and could fail."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gpu
import pytest
import torch

from benchmarks import device_checks
from benchmarks.device_checks import Check
from hsu_core import energies

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


def test_one_call_runs_every_part_and_every_check_holds(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(tmp_path), "--device", "cpu", "--small"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert list(report["parts"]) == ["checks", "step", "loop", "head", "penalties"]
    assert all(part["rows"] and not part["error"] for part in report["parts"].values())
    assert all(row["holds"] for row in report["parts"]["checks"]["rows"])
    assert report["machine"]["torch"] == torch.__version__
    assert "### checks" in (tmp_path / "gpu.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--out", "unused"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert ran.returncode == 2
    assert "finds no GPU" in ran.stderr


@pytest.mark.parametrize(("error", "holds"), [(0.0, True), (0.1, True), (0.11, False), (math.nan, False)])
def test_a_check_holds_within_its_tolerance_and_never_for_nan(error: float, holds: bool) -> None:
    assert Check("group", "name", error, 0.1).holds is holds


def test_a_wrong_energy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = device_checks.PAIRS["riesz s=2, full"]
    wrong = right._replace(fast=lambda w: right.fast(w) * 1.02)
    monkeypatch.setitem(device_checks.PAIRS, "riesz s=2, full", wrong)
    broken = [check.name for check in device_checks.values_and_gradients(CPU, ((64, 27),)) if not check.holds]
    assert broken == [f"riesz s=2, full, 64 × 27, {dtype}" for dtype in ("fp64", "fp32", "bf16")]


def test_an_energy_that_depends_on_lengths_breaks_a_law(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = {"riesz s=2, full": device_checks.Pair(lambda w: w.square().sum(), energies.riesz)}
    monkeypatch.setattr(device_checks, "PAIRS", pairs)
    broken = [check.name for check in device_checks.laws(CPU, ((64, 27),)) if not check.holds]
    assert broken == ["riesz s=2, full, 64 × 27, other lengths"]


def test_a_part_that_fails_keeps_what_it_found_and_makes_the_call_fail() -> None:
    def part(*_: object) -> Iterator[gpu.Row]:
        yield {"a": 1}
        raise RuntimeError("the device is gone")

    found = gpu._run(part, CPU, gpu.SMALL, gpu.Clock(9))
    assert found["rows"] == [{"a": 1}]
    assert "the device is gone" in found["error"]
    assert gpu._is_bad(found)


def test_when_the_time_is_over_no_further_row_begins() -> None:
    found = gpu._run(lambda *_: iter([{"a": 1}, {"a": 2}]), CPU, gpu.SMALL, gpu.Clock(0))
    assert (found["rows"], found["is_cut_short"]) == ([{"a": 1}], True)
