"""The table of a study as the service sends it, for tests of figures and pages."""

from __future__ import annotations

from typing import Any


def contrast(baseline: str, finding: str) -> dict[str, Any]:
    """A cell beside the baseline."""
    return {
        "baseline": baseline,
        "pairs": 3,
        "same_start": 3,
        "difference": 0.02,
        "interval": {"low": 0.01, "high": 0.03},
        "p": 0.25,
        "p_adjusted": 0.25,
        "p_holm": 0.25,
        "hedges_g": 1.5,
        "improvement": 1.0,
        "finding": finding,
        "pairs_needed": 9,
        "detectable": None,
        "depends_on_missing": False,
        "verdict": f"It is {finding}.",
    }


def cell(arm: str, mean: float | None, weight: float | None = None, **change: Any) -> dict[str, Any]:
    """A cell of the primary metric."""
    at = {} if weight is None else {"/regularizer/hidden_weight": weight}
    return {
        "label": arm if weight is None else f"{arm} at hidden_weight={weight}",
        "arm": arm,
        "at": at,
        "n": 3,
        "missing": 0,
        "mean": mean,
        "sd": 0.01,
        "interval": None if mean is None else {"low": mean - 0.01, "high": mean + 0.01},
        "warning": None,
        "random": None,
        "optimum": None,
        "contrast": None,
    } | change


def table(*cells: dict[str, Any], **change: Any) -> dict[str, Any]:
    """A table of one metric."""
    return {
        "study": 1,
        "name": "50 % <more> $of it$",
        "value": "last",
        "confidence": 0.95,
        "metrics": [
            {
                "metric": "test_accuracy",
                "higher_is_better": True,
                "contrasts": 2,
                "flips": 4,
                "is_exact": True,
                "cells": list(cells),
            }
        ],
        "costs": [
            {"label": each["label"], "gpu_seconds": 2.0 + place, "seconds_per_step": 0.1, "is_efficient": place == 0}
            for place, each in enumerate(cells)
        ],
        "runs": [
            {
                "cell": each["label"],
                "seed": seed,
                "job": seed + 1,
                "fingerprint": "ab" * 32,
                "state": "succeeded",
                "origin": "queued",
                "is_current": True,
                "failure": None,
                "values": {"test_accuracy": each["mean"]},
                "gpu_seconds": 2.0,
            }
            for each in cells
            for seed in range(3)
        ],
        "notes": ["Missing, because they failed: <nobody>."],
    } | change
