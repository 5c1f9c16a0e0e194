"""What does it take to make a training comparable? Hashes of weights, batches and data, and the factor of a strength.

    python benchmarks/comparable.py             # half a minute on one thread, without any files

Random data in the shapes of the published sets. Times are the best of several, in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from hsu_core import spec, tasks
from hsu_core.data import content_hash
from hsu_core.data.images import Images
from hsu_core.ranks import ALONE
from hsu_core.training import hashes, strength

TIMES = 3
CASES: dict[str, dict[str, Any]] = {
    "fashion-mnist": {"kind": "small_cnn"},
    "cifar10": {"kind": "resnet18"},
}
REGULARIZERS: tuple[dict[str, Any], ...] = ({"kind": "mhe"}, {"kind": "mhp"}, {"kind": "uniformity"})


def main() -> None:
    """Print a line for each network, and one for each regularizer of the small one."""
    torch.set_num_threads(1)
    for dataset, model in CASES.items():
        _hashes(_asked(dataset, model))
    for regularizer in REGULARIZERS:
        _strength(_asked("fashion-mnist", CASES["fashion-mnist"], regularizer=regularizer))


def _hashes(chosen: spec.TrainingSpec) -> None:
    data = _data(chosen)
    task = tasks.prepare(chosen, data, device=torch.device("cpu"))
    size = sum(each.numel() * each.element_size() for each in task.model.state_dict().values()) / 1e6
    weights = _best(partial(hashes.of_weights, task.model))
    batches = _best(partial(hashes.of_batches, task, 0, ALONE))
    whole = _best(partial(content_hash.of, data))
    print(
        f"{chosen.model.kind} on {chosen.dataset.kind}: hash of {size:.1f} MB of weights {weights:.1f} ms, "
        f"of 3 batches {batches:.1f} ms, of the data {whole:.0f} ms",
        flush=True,
    )


def _strength(chosen: spec.TrainingSpec) -> None:
    task = tasks.prepare(chosen, _data(chosen), device=torch.device("cpu"))
    final = {layer.name for layer in chosen.geometry.layers if layer.is_final}
    found = _best(partial(strength.factor, chosen, task, first=0, final=final, world=ALONE))
    step = _best(partial(_steps, task)) / 10
    kind = chosen.regularizer.kind
    print(f"{kind}: strength over 10 batches {found:.0f} ms, a step of the loss {step:.1f} ms", flush=True)


def _asked(dataset: str, model: dict[str, Any], **changes: Any) -> spec.TrainingSpec:
    common: dict[str, Any] = {
        "task": "classification",
        "dataset": {"kind": dataset},
        "model": model,
        "regularizer": {"kind": "mhe"},
        "strength": {"gradient_ratio": 0.1},
        "duration": {"steps": 100},
        "batch_size": 128,
    }
    return spec.TRAINING.validate_python(common | changes)


def _steps(task: Any) -> None:
    """Ten forward and backward passes."""
    for _, batch in zip(range(10), task.batches(0), strict=False):
        task.loss(task.outputs(task.model, batch), batch).backward()


def _data(chosen: spec.TrainingSpec) -> Images:
    facts: Any = chosen.dataset.facts
    drawn = np.random.default_rng(0)
    x = [drawn.integers(0, 256, (n, *facts.shape), dtype=np.uint8) for n in (facts.train, facts.test)]
    y = [drawn.integers(0, facts.classes, n) for n in (facts.train, facts.test)]
    return Images(x[0], y[0], x[1], y[1])


def _best(measured: Callable[[], object]) -> float:
    """Milliseconds."""
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        measured()
        found.append(time.perf_counter() - began)
    return 1000 * min(found)


if __name__ == "__main__":
    main()
