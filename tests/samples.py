"""Specs that several suites submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hsu_jobs.cluster.claiming import Room
from hsu_jobs.results import Certificate, ClassificationResult, Device, PointsResult

ROOM = Room("w", "default", ("cpu:0",), 1)
"""A machine with one free slot."""

DIGITS: dict[str, Any] = {
    "name": "digits with MHE",
    "dataset": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [64, 32]},
    "regularizer": {"kind": "mhe", "s": 2},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "duration": {"epochs": 1},
}

EXAMPLE: dict[str, Any] = json.loads(Path(__file__).parents[1].joinpath("examples/digits-mhe.json").read_text())
"""The first job of the documentation."""

TRAINED = ClassificationResult(
    test_accuracy=0.5,
    test_loss=1.5,
    train_loss=1.25,
    penalty=3.0,
    seconds=2.0,
    steps_per_second=5.5,
    parameters=6634,
)

CERTIFICATE = Certificate(
    fingerprint="f" * 64,
    version="0.1.0",
    commit=None,
    data="d" * 64,
    initial_weights="1" * 64,
    first_batches="2" * 64,
    final_weights="3" * 64,
    python="3.12.0",
    torch="2.13.0",
    numpy="2.3.0",
    deterministic=False,
    cudnn_deterministic=False,
    cudnn_benchmark=False,
    float32_matmul="highest",
    device=Device(type="cpu", name="a processor", count=1, threads=1),
)

POINTS: dict[str, Any] = {
    "name": "Thomson's problem",
    "task": "points",
    "n": 12,
    "d": 3,
    "objective": {"kind": "riesz", "s": 1},
    "starts": 4,
}

PLACED = PointsResult(
    value=0.5, best_known=None, gap=None, inner=None, values=(0.5, 0.75), points=((0.0, 0.6, 0.8), (1.0, 0.0, 0.0))
)
