"""Write sample specs as this version stores them: `python tests/hsu_jobs/stored_specs/write_samples.py`.

Run it once when a new spec version is made, before anything is released with it. It writes the files of the present
version that are not there yet, and never changes one that is: a sample is what some database holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hsu_jobs.spec import parse

SMALL: dict[str, Any] = {
    "dataset": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [64, 32]},
    "duration": {"epochs": 1},
}
PHOTOGRAPHS: dict[str, Any] = {
    "dataset": {"kind": "cifar10"},
    "model": {"kind": "cnn9"},
    "regularizer": {"kind": "mhe", "s": 2},
    "duration": {"epochs": 200},
}
REGULARIZERS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "mhe": {"kind": "mhe", "s": 2},
    "mhe_with_everything": {
        "kind": "mhe",
        "s": 0,
        "half_space": False,
        "hidden_weight": 0.5,
        "final_weight": 2,
        "every": 4,
        "layers": ["hidden*"],
        "layer_weights": {"hidden1": 2.0},
        "schedule": {"kind": "warmup", "fraction": 0.25},
    },
    "mhs": {"kind": "mhs"},
    "mhp": {"kind": "mhp"},
    "mhp_of_the_authors": {"kind": "mhp", "preset": "authors"},
    "rmhp": {"kind": "rmhp"},
    "mhc": {"kind": "mhc"},
    "mgd": {"kind": "mgd"},
    "so": {"kind": "so"},
    "dso": {"kind": "dso"},
    "mutual_coherence": {"kind": "mutual_coherence"},
    "srip": {"kind": "srip"},
    "mma": {"kind": "mma"},
    "comhe": {"kind": "comhe"},
    "comhe_without_projected_classifier": {"kind": "comhe", "project_classifier": False},
    "comhe_of_the_authors": {"kind": "comhe", "preset": "authors"},
    "uniformity": {"kind": "uniformity"},
    "koleo": {"kind": "koleo"},
    "lloyd": {"kind": "lloyd"},
    "sliced_dispersion": {"kind": "sliced_dispersion"},
    "wasserstein_uniformity": {"kind": "wasserstein_uniformity"},
    "sliced_gaussian": {"kind": "sliced_gaussian"},
    "hug": {"kind": "hug"},
}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "riesz": {"kind": "riesz", "s": 1},
    "separation": {"kind": "separation"},
    "polarization": {"kind": "polarization"},
    "covering": {"kind": "covering"},
    "gram_determinant": {"kind": "gram_determinant"},
}
ASKED: dict[str, dict[str, Any]] = {
    **{f"regularizer_{name}": SMALL | {"regularizer": chosen} for name, chosen in REGULARIZERS.items()},
    **{f"points_{name}": {"task": "points", "n": 8, "d": 12, "objective": o} for name, o in OBJECTIVES.items()},
    "points_in_half_space": {
        "task": "points",
        "n": 12,
        "d": 3,
        "objective": {"kind": "separation"},
        "half_space": True,
        "starts": 4,
        "seed": 7,
    },
    "parallel": PHOTOGRAPHS | {"resources": {"gpus": 4, "pool": "a100"}, "augment": "crop_flip", "precision": "bf16"},
    "with_everything": PHOTOGRAPHS
    | {
        "name": "with everything",
        "tags": ["paper", "v2"],
        "priority": 5,
        "limits": {"max_attempts": 3, "deadline": 86400, "stall": 600},
        "optimizer": {"kind": "adamw", "lr": 0.002},
        "schedule": {"kind": "step", "milestones": [0.5, 0.75], "gamma": 0.2},
        "duration": {"steps": 64000},
        "batch_size": 64,
        "seed": 3,
        "record": {"every": 100, "layers": ["conv1_*"], "measures": ["mhe_s2", "separation"]},
        "evaluate": {"every": 500},
        "checkpoint": {"every": 1000, "seconds": None, "keep_last": 3, "keep_best": True},
    },
    "own_images": SMALL
    | {
        "dataset": {
            "kind": "own",
            "name": "flowers",
            "owner": "ada",
            "version": 3,
            "sha256": "ab" * 32,
            "holds": "images",
            "shape": [3, 32, 32],
            "classes": 5,
            "train": 1600,
            "test": 400,
        },
        "regularizer": {"kind": "mhe"},
        "stream": True,
    },
    "small_cnn": SMALL | {"model": {"kind": "small_cnn"}, "regularizer": {"kind": "none"}},
    "adamw_and_constant_rate": SMALL
    | {"regularizer": {"kind": "none"}, "optimizer": {"kind": "adamw"}, "schedule": {"kind": "constant"}},
}


def main() -> None:
    """Write what is missing."""
    version = json.loads(parse(ASKED["parallel"]).model_dump_json()).get("version", 1)
    folder = Path(__file__).parent / f"v{version}"
    folder.mkdir(exist_ok=True)
    for name, asked in ASKED.items():
        path = folder / f"{name}.json"
        if path.exists():
            continue
        spec = parse(asked)
        row = {"fingerprint": spec.fingerprint, "spec": spec.model_dump(mode="json")}
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
