"""What must hold after any fault? Every job ended once, with the weights and curves of a run that nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from chaos.cluster import DATA, Cluster
from safetensors.torch import load_file
from sqlalchemy import select

from hsu_jobs import curves, queries
from hsu_jobs.tables import Attempt, CheckpointRow, EventRow, Job

COMMON: dict[str, Any] = {"checkpoint": {"every": 60}, "limits": {"max_attempts": 100}}
DIGITS: dict[str, dict[str, Any]] = {
    name: {
        "dataset": {"kind": "digits"},
        "model": {"kind": "mlp", "hidden": [48, 32]},
        "regularizer": regularizer,
        "augment": "crop_flip",
        "duration": {"steps": 600},
        "batch_size": 64,
        "record": {"every": 30, "measures": ["mhe_s2", "min_angle"]},
        "evaluate": {"every": 300},
    }
    for name, regularizer in {
        "mhe": {"kind": "mhe"},
        "mhp": {"kind": "mhp", "inner": {"kind": "authors"}},
        "comhe": {"kind": "comhe", "projection": "adversarial"},
    }.items()
}
"""Regularizers that keep different things from step to step: nothing, a pole with its momentum, a projection."""

OF_OTHER_TASKS: dict[str, dict[str, Any]] = {
    "nodes": {
        "task": "nodes",
        "dataset": {"kind": "cora"},
        "model": {"kind": "gcn"},
        "regularizer": {"kind": "mhe"},
        "duration": {"steps": 240},
        "record": {"every": 30, "measures": ["mhe_s2", "min_angle"]},
        "evaluate": {"every": 60},
    },
    "texts": {
        "task": "texts",
        "dataset": {"kind": "banking77"},
        "model": {"kind": "bag_of_ngrams", "vocabulary": 2000, "width": 32},
        "regularizer": {"kind": "mhe", "layers": ["classifier"]},
        "duration": {"steps": 600},
        "batch_size": 32,
        "record": {"every": 60, "layers": ["classifier"], "measures": ["mhe_s2", "min_angle"]},
        "evaluate": {"every": 300},
    },
    "recommendation": {
        "task": "recommendation",
        "dataset": {"kind": "movielens-latest-small"},
        "model": {"kind": "matrix_factorization", "width": 16},
        "regularizer": {"kind": "mhe", "layers": ["users"]},
        "duration": {"steps": 300},
        "batch_size": 256,
        "record": {"every": 60, "layers": ["users"], "measures": ["mhe_s2", "min_angle"]},
        "evaluate": {"every": 150},
    },
}
SPECS: dict[str, dict[str, Any]] = {
    name: {"name": name, **COMMON, **one} for name, one in (DIGITS | (OF_OTHER_TASKS if DATA else {})).items()
}


class Undisturbed(NamedTuple):
    """What a run that nobody disturbed left: its final state and its curves."""

    tensors: dict[str, torch.Tensor]
    curves: dict[tuple[str | None, str], dict[int, float]]


class Found(NamedTuple):
    """What became of one job."""

    is_lost: bool
    """It did not succeed."""
    is_doubled: bool
    """It ended more than once, or two attempts at it lived at the same time."""
    has_gaps: bool
    """Its curves lack a point or have one twice."""
    is_unequal: bool
    """Weights or curves are not, bit for bit, those of an undisturbed run."""
    attempts: int


@cache
def undisturbed(name: str) -> Undisturbed:
    """The truth about a spec: trained by the library alone, in a process with one thread, as the workers' runners."""
    script = (
        "import sys, json, torch; from pathlib import Path; from hsu_core.training.loop import train; "
        "from hsu_core.training.callbacks import Callbacks; from hsu_jobs.spec import parse; points = []; "
        "spec = parse(json.loads(sys.argv[1])); folder = Path(sys.argv[2]); "
        "report = lambda k, v: points.append((k, dict(v))); "
        "data = Path(sys.argv[3]) if sys.argv[3] else None; "
        "train(spec, callbacks=Callbacks(report=report, checkpoint_dir=folder), data_dir=data); "
        "torch.save(points, folder / 'points')"
    )
    with TemporaryDirectory() as folder:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
        arguments = [json.dumps(SPECS[name]), folder, DATA or ""]
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, env=one_thread)
        last = max(Path(folder).glob("step-*.safetensors"))
        points = torch.load(Path(folder, "points"), weights_only=False)
        series: dict[tuple[str | None, str], dict[int, float]] = {}
        for step, values in points:
            for key, value in values.items():
                series.setdefault((key.layer, key.measure), {})[step] = value
        return Undisturbed(load_file(last), series)


def judge(cluster: Cluster, job_id: int, name: str) -> Found:
    """What became of a job that was made of one of our specs."""
    truth = undisturbed(name)
    with cluster.session() as session:
        job = session.get_one(Job, job_id)
        events = session.execute(select(EventRow.event).where(EventRow.job_id == job_id)).scalars().all()
        tries = (
            session.execute(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number)).scalars().all()
        )
        found = {
            (curve.layer, curve.measure): dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
            for curve in curves.read(session, job_id)
        }
        steps = [curve.steps.tolist() for curve in curves.read(session, job_id)]
        rows = session.execute(queries.checkpoints_of(job_id)).scalars().all()
    endings = [event for event in events if event["kind"] == "ended" and event["state"] in ("succeeded", "failed")]
    overlaps = [
        (one.number, two.number)
        for one, two in pairwise(tries)
        if one.ended_at is None or one.ended_at > two.started_at
    ]
    kept = [row for row in rows if row.removed_at is None]
    return Found(
        is_lost=job.state != "succeeded",
        is_doubled=len(endings) != 1 or bool(overlaps),
        has_gaps=steps != [sorted(set(of_one)) for of_one in steps]
        or {key: sorted(values) for key, values in found.items()}
        != {key: sorted(values) for key, values in truth.curves.items()},
        is_unequal=found != truth.curves or not _same(cluster, kept, truth),
        attempts=len(tries),
    )


def _same(cluster: Cluster, kept: list[CheckpointRow], truth: Undisturbed) -> bool:
    if not kept:
        return False
    tensors = load_file(cluster.artifacts / kept[0].path)
    return tensors.keys() == truth.tensors.keys() and all(
        torch.equal(tensors[name], value) for name, value in truth.tensors.items()
    )
