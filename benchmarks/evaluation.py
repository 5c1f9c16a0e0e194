"""How long does each option of `evaluate` take, and what does it give? One training for each, of the same network.

    python benchmarks/evaluation.py                                     # the digits, examples/digits-evaluated.json
    HSU_DATA_DIR=data python benchmarks/evaluation.py --dataset fashion-mnist --epochs 1

Each option is measured alone, so what two options share is counted twice. The first use of a library includes its
import. Beside the seconds are those for one step of the training, in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from hsu_core import costs, spec
from hsu_core.outcomes import Finished
from hsu_core.training.loop import train

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits-evaluated.json"
PROBE = {"measures": ["linear_probe"]}


def main() -> None:
    """Train, and print a line for each option."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dataset", default="digits", choices=spec.kinds(spec.ImageDataset))
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--examples", type=int, help="test images to attack; by default all")
    chosen = options.parse_args()
    asked = json.loads(EXAMPLE.read_text()) | {"dataset": {"kind": chosen.dataset}, "task": "classification"}
    asked = {name: value for name, value in asked.items() if name != "name"} | {"duration": {"epochs": chosen.epochs}}
    for name, evaluate in _options(asked["evaluate"], chosen.examples).items():
        _measure(name, spec.TRAINING.validate_python(asked | {"evaluate": evaluate}))


def _options(whole: dict[str, Any], examples: int | None) -> dict[str, dict[str, Any]]:
    attacks = whole["attacks"] | {"examples": examples}
    fgsm, pgd = ({"attacks": attacks | {"methods": [method]}} for method in attacks["methods"])
    measures = [name for name in spec.FeatureMeasure.__args__ if name != "linear_probe"]  # type: ignore[attr-defined]
    return {
        "calibration": {"calibration": whole["calibration"]},
        "attacks, FGSM": fgsm,
        "attacks, PGD-20": pgd,
        "corruptions": {"corruptions": whole["corruptions"]},
        "features without the probe": {"features": {"measures": measures}},
        "features, only the probe": {"features": PROBE},
        "all together": whole | {"attacks": attacks},
    }


def _measure(name: str, training: spec.TrainingSpec) -> None:
    outcome = train(training, data_dir=Path(os.environ.get("HSU_DATA_DIR", "data")))
    assert isinstance(outcome, Finished), outcome
    metrics, plain = outcome.metrics, {*training.evaluated, "train_loss", "penalty", "seconds", "parameters"}
    given = {key: round(value, 4) for key, value in metrics.items() if key not in plain and "second" not in key}
    flops = sum(option.flops for option in costs.estimate(training).evaluation)
    print(
        f"{name:27} {metrics['evaluation_seconds']:7.2f} s, told {flops / 1e9:.3g} GFLOP "
        f"(a step: {1000 / metrics['steps_per_second']:.1f} ms) {given}",
        flush=True,
    )
    for table, rows in outcome.tables.items():
        print(f"{'':27} {table}: " + "; ".join(", ".join(str(_short(cell)) for cell in row.values()) for row in rows))


def _short(cell: str | float) -> str | float:
    return round(cell, 4) if isinstance(cell, float) else cell


if __name__ == "__main__":
    main()
