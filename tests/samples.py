"""Specs that several suites submit."""

from __future__ import annotations

from typing import Any

DIGITS: dict[str, Any] = {
    "name": "digits with MHE",
    "dataset": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [64, 32]},
    "regularizer": {"kind": "mhe", "s": 2},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "duration": {"epochs": 1},
}
